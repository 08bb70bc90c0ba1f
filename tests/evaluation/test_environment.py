"""Versions and surroundings that results.json records."""

import subprocess
from importlib.metadata import PackageNotFoundError

import pytest

from asym_jax.evaluation import environment as module
from asym_jax.evaluation.environment import commit_of, environment


@pytest.fixture
def repository(tmp_path):
    """One file that is committed, and one that is not."""

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    git("init")
    for name in ("ours.py", "installed.py"):
        (tmp_path / name).write_text("1")
    git("add", "ours.py")
    git("commit", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_versions_and_what_changes_numbers(monkeypatch):
    def version(name):
        if name in ("diffusers", "asym_jax"):
            raise PackageNotFoundError
        return f"version of {name}"

    monkeypatch.setattr(module, "version", version)
    monkeypatch.setattr(module, "commit_of", lambda file: "c0ffee+" if file.name == "environment.py" else "")
    monkeypatch.setenv("ASYM_JAX_FILTERING", "small")
    found = environment()
    assert {name: found[name] for name in ("transformers", "jax", "commit", "ASYM_JAX_FILTERING")} == {
        "transformers": "version of transformers",
        "jax": "version of jax",
        "commit": "c0ffee+",
        "ASYM_JAX_FILTERING": "small",
    }
    assert found["devices"].startswith("8 cpu (")
    assert not {"diffusers", "asym_jax"} & set(found)


def test_what_is_not_known_or_set_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "commit_of", lambda file: "")
    monkeypatch.delenv("ASYM_JAX_FILTERING", raising=False)
    assert not {"commit", "ASYM_JAX_FILTERING"} & set(environment())


def test_the_commit_is_that_of_a_file_s_own_repository(repository, tmp_path_factory):
    folder, commit = repository
    assert commit_of(folder / "ours.py") == commit
    (folder / "ours.py").write_text("2")
    assert commit_of(folder / "ours.py") == f"{commit}+"
    assert commit_of(folder / "installed.py") == ""
    assert commit_of(tmp_path_factory.mktemp("elsewhere") / "ours.py") == ""
