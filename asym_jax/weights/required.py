"""Published files that a network needs: whether they are there, and whether they are the right ones."""

import hashlib
import os
from collections.abc import Sequence

from asym_jax.errors import InputError
from asym_jax.weights.fetching.cache import weights_folder
from asym_jax.weights.fetching.published import PublishedFile, by_hand, fetch_line


def problem(files: Sequence[PublishedFile]) -> str | None:
    """Which of the files are absent, in one message that says what to put where; None if all are there."""
    folder = weights_folder()
    missing = [file for file in files if not (folder / file.name).is_file()]
    if not missing:
        return None
    return (
        f"{folder} lacks weights (ASYM_JAX_WEIGHTS names another folder). Fetch them: `{fetch_line(missing)}`. "
        f"Or put them there by hand: {by_hand(missing, folder)}"
    )


def verified(files: Sequence[PublishedFile]) -> bool:
    """True if all are there and are the published ones; False if the user waived that question.

    Raises:
        InputError: a file is absent, or is not the published one.
    """
    absent = problem(files)
    if absent:
        raise InputError(absent)
    if os.environ.get("ASYM_JAX_UNVERIFIED_WEIGHTS") == "1":
        return False
    for file in files:
        found = sha256(file)
        if found != file.sha256:
            raise InputError(
                f"{weights_folder() / file.name} has SHA-256 {found}, the published file has {file.sha256}; fetch it again "
                f"(`{fetch_line([file])} --force`), or set ASYM_JAX_UNVERIFIED_WEIGHTS=1 to use it "
                "and have every result marked as unverified"
            )
    return True


def sha256(file: PublishedFile) -> str:
    """Of the file as it is here; results carry it. Raises OSError if it cannot be read."""
    with (weights_folder() / file.name).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
