"""Files from the Hugging Face hub, by way of its local cache."""

import contextlib
import logging
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from asym_jax.errors import InputError
from asym_jax.weights.files.sharded import shards
from asym_jax.weights.sources.file_names import CONFIG, INDEX, LISTED, SUFFIXES, VAE, belongs, choose, lack

NAME = re.compile(r"(?P<repository>[\w-][\w.-]*/[\w-][\w.-]*)(/(?P<path>[\w-][\w./-]*)?)?(@(?P<revision>[\w][\w./-]*))?")
"""OWNER/NAME[/SUBFOLDER or /FILE][@REVISION]. Paths that begin with a slash, a dot or a tilde never match."""

PATIENCE = 30
"""Seconds to wait for the hub's list of files."""

REFUSED = (400, 401, 403, 404)
"""Answers that are final: whoever gets what was fetched earlier is told so. After any other, such as 429 or 503, it is the best
there is."""

CLIENTS = ("requests", "httpx")
"""Libraries that the hub's own has made its requests with; errors of theirs, and not of the hub's, mean that no answer came."""

LONGEST_REASON = 300
"""Characters of somebody else's message in ours."""

log = logging.getLogger(__name__)


class HubName(NamedTuple):
    """A folder or, with `file`, one file of a repository."""

    repository: str
    subfolder: str | None
    file: str | None
    revision: str | None

    def __str__(self) -> str:
        path = "/".join(filter(None, (self.repository, self.subfolder, self.file)))
        return f"{path}@{self.revision}" if self.revision else path


class Listing(NamedTuple):
    """What is in a folder; and, where the hub did not answer, why (then it is what the local cache has of it)."""

    files: list[str]
    subfolders: set[str]
    problem: str | None
    final: bool = False  # the problem is one that lasts


def parse(source: str, revision: str | None, subfolder: str | None) -> HubName | None:
    """What `source` means on the hub; None if it cannot be a name there. A path that ends as files with weights do is a file."""
    found = NAME.fullmatch(source)
    if found is None or ".." in source:
        return None
    path = "/".join(filter(None, (found["path"], subfolder))).strip("/")
    folder, _, last = path.rpartition("/")
    is_file = last.endswith(SUFFIXES)
    return HubName(
        found["repository"], (folder if is_file else path) or None, last if is_file else None, revision or found["revision"]
    )


def fetch(name: HubName) -> tuple[Path | None, Path]:
    """config.json, if there is one, and the file with weights, in the hub's local cache.

    Without network, files that are already in the cache are used. config.json comes
    first: weights without it, left by a connection that broke, would later be taken for
    a repository that has none.

    Raises:
        InputError: the hub cannot be reached and the cache lacks the files, or there are no such files.
    """
    with _quiet():
        found = _list(name)
        chosen = choose(found.files) if name.file is None else name.file if name.file in found.files else None
        if chosen is None:
            raise InputError(f"{name}: {_unreachable(found.problem) if found.problem else _lack(name, found)}")
        cached = found.problem is not None
        if found.final:
            log.warning("%s is taken from the local cache, because the Hugging Face hub does not give it: %s", name, found.problem)
        has_config = CONFIG in found.files and belongs(chosen, asked_for=name.file is not None)
        config = _file(name, CONFIG, cached) if has_config else None
        weights = _file(name, chosen, cached)
        if chosen.endswith(INDEX):
            for shard in sorted(set(shards(weights).values())):
                _file(name, shard, cached)
        return config, weights


def _list(name: HubName) -> Listing:
    from huggingface_hub import HfApi  # here, because only this needs it and it is slow to import

    try:
        info = HfApi().model_info(name.repository, revision=name.revision, timeout=PATIENCE)
        entries = [entry.rfilename for entry in info.siblings or ()]
    except Exception as error:  # no network, no such repository or revision, no permission, ...: each has its own class
        status = getattr(getattr(error, "response", None), "status_code", None)
        return _cached(name)._replace(problem=_reason(name, error), final=status in REFUSED)
    folder = f"{name.subfolder}/" if name.subfolder else ""
    below = [entry.removeprefix(folder).partition("/") for entry in entries if entry.startswith(folder)]
    return Listing([first for first, deeper, _ in below if not deeper], {first for first, deeper, _ in below if deeper}, None)


def _cached(name: HubName) -> Listing:
    """What an earlier download left of the folder."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name.repository, revision=name.revision, local_files_only=True)) / (name.subfolder or "")
        return Listing([path.name for path in folder.iterdir() if path.is_file()], set(), None)
    except (OSError, ValueError):  # nothing is there, or the name cannot be one of a repository
        return Listing([], set(), None)


def _file(name: HubName, file: str, cached: bool) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        where = {"subfolder": name.subfolder, "revision": name.revision, "local_files_only": cached}
        return Path(hf_hub_download(name.repository, file, **where))
    except Exception as error:  # no permission, disk full, network lost, ...
        raise InputError(f"{name}: {file} could not be fetched: {_reason(name, error)}") from error


def _lack(name: HubName, found: Listing) -> str:
    if name.file is None:
        return lack("the folder on the hub", found.files, found.subfolders, str(_within(name, VAE)))
    return f"the Hugging Face hub has no such file; there it has {', '.join(sorted(found.files)[:LISTED]) or 'nothing'}"


def _within(name: HubName, subfolder: str) -> HubName:
    return name._replace(subfolder="/".join(filter(None, (name.subfolder, subfolder))))


def _unreachable(reason: str) -> str:
    return (
        f"there is no such file or folder in {Path.cwd()}, and the Hugging Face hub did not give it: {reason}. "
        "Check the name and the network, or give the path of a downloaded folder"
    )


def _reason(name: HubName, error: BaseException) -> str:
    """What went wrong, and what helps, in one line."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # of asking the hub, which comes before looking into the cache
    page = f"{constants.ENDPOINT}/{name.repository}"
    if isinstance(error, errors.GatedRepoError):
        return f"its owners ask you to accept their terms; do so on {page}, then log in here with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no {page}, or it is private (then log in here with `hf auth login`)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{page} has no revision {name.revision!r}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE forbids to ask it, and the local cache lacks it"
    if type(error).__module__.partition(".")[0] in CLIENTS:
        return f"there is no network, or none to {constants.ENDPOINT} ({type(error).__name__})"
    return f"{type(error).__name__}: {textwrap.shorten(str(error), LONGEST_REASON, placeholder=' ...')}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without network the hub's library warns at length about every attempt."""
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
