# Sourced by the other scripts. `environment FOLDER REQUIREMENTS` makes a virtual
# environment in FOLDER (of $PYTHON, or python3), fills it and activates it.
environment() {
    local folder=$1 requirements=$2 python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "error: $python is older than 3.11; set PYTHON to a newer one" >&2
        return 2
    fi
    if [ ! -x "$folder/bin/python" ]; then
        echo "making $folder ($("$python" --version))"
        "$python" -m venv "$folder"
    fi
    # shellcheck disable=SC1091
    . "$folder/bin/activate"
    python -m pip install --quiet --disable-pip-version-check -r "$requirements"
}
