"""What `python -m asym_jax.weights fetch` and `verify` do."""

from collections.abc import Sequence
from pathlib import Path

from asym_jax.weights.fetching.cache import State, part_of, verify, weights_folder
from asym_jax.weights.fetching.download import fetch
from asym_jax.weights.fetching.progress import progress_bar
from asym_jax.weights.fetching.published import PUBLISHED, Published, find

UNITS = ("bytes", "kB", "MB", "GB")


def fetch_command(names: Sequence[str], folder: Path | None, force: bool) -> None:
    """Fetches what is published under `names` into `folder` (None: `weights_folder()`), and prints a line for each file.

    Raises:
        InputError: there is no such name (nothing is fetched then), or a file cannot be had (the message tells of all
            that are missing).
    """
    entries = [find(name) for name in dict.fromkeys(names)]
    folder = folder or weights_folder()
    files = [file for entry in entries for file in entry.files]
    for file in files:
        with progress_bar(file.name) as report:
            fetched = fetch(file, folder, report=report, force=force, others=files)
        state = "fetched" if fetched.new else "was there already"
        print(f"{folder / file.name}: {state}, {fetched.finding.state} ({fetched.finding.detail})")


def list_command(folder: Path | None) -> None:
    """Prints what can be fetched: name, size, whether it is in `folder`, purpose and licence. Nothing is checked."""
    folder = folder or weights_folder()
    rows = [("NAME", "SIZE", "THERE", "PURPOSE", "LICENCE")]
    rows += [(entry.name, _size(entry), _presence(entry, folder), entry.purpose, entry.licence) for entry in PUBLISHED]
    print(_table(rows))
    print(f"\nfolder: {folder} (ASYM_JAX_WEIGHTS or --folder changes it); `verify` checks what is there")


def verify_command(folder: Path | None) -> bool:
    """Checks every published or fetched file in `folder` and prints what was found; False if one is wrong.

    Raises:
        InputError: the manifest of the folder is damaged, or a file cannot be read.
    """
    folder = folder or weights_folder()
    findings = verify(folder)
    there = [finding for finding in findings if finding.state is not State.MISSING]
    print(f"folder: {folder}{'' if there else '; none of the published files is there'}")
    if there:
        print(_table([("FILE", "STATE", ""), *((finding.file, finding.state, finding.detail) for finding in there)]))
    absent = {finding.file for finding in findings} - {finding.file for finding in there}
    names = [entry.name for entry in PUBLISHED if all(file.name in absent for file in entry.files)]
    if names:
        print(f"not there: {', '.join(names)}")
    wrong = [finding.file for finding in there if finding.state is State.WRONG]
    again = [entry.name for entry in PUBLISHED if any(file.name in wrong for file in entry.files)]
    if again:
        print(f"to replace what is wrong: python -m asym_jax.weights fetch {' '.join(again)} --force")
    return not wrong


def _size(entry: Published) -> str:
    """The sum of the sizes that are known, with three digits; the config of an autoencoder does not count."""
    size = float(sum(file.bytes or 0 for file in entry.files))
    if not size:
        return "?"
    unit = 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g} {UNITS[unit]}"


def _presence(entry: Published, folder: Path) -> str:
    paths = [folder / file.name for file in entry.files]
    if all(path.exists() for path in paths):
        return "yes"
    return "partly" if any(path.exists() or part_of(path).exists() for path in paths) else "no"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
