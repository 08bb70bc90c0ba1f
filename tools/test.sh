#!/usr/bin/env bash
# Makes a virtual environment for the tests and runs them (without the slow ones), in two processes.
# Further arguments go to pytest; `-m slow -n 0` runs the slow ones, many of which need the machine for themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/environment.sh
environment .venv-test requirements-test.txt
if python -c 'import torch' 2>/dev/null; then
    python -m pip install --quiet --disable-pip-version-check --no-deps lpips==0.1.4 torch-fidelity==0.4.0 pytorch-fid==0.3.0
fi
python -m pytest -n 2 --dist loadfile "$@"
