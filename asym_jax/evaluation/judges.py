"""The networks that measure pictures, as far as their weights are on this machine."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from asym_jax.arrays import Params
from asym_jax.models.clip_vision import ClipVision
from asym_jax.weights import clip, inception, networks, required
from asym_jax.weights.fetching.published import PublishedFile, fetch_line

NEEDED_BY = {
    "lpips": "lpips",
    "lpips_alex": "lpips_alex",
    "fid": "inception",
    "inception_score": "inception",
    "clip_score": "clip",
}
"""Which network each metric looks through; the other metrics need none."""

_PROBLEMS = {
    "lpips": networks.lpips_problem,
    "lpips_alex": networks.alex_problem,
    "inception": inception.inception_problem,
    "clip": clip.clip_problem,
}
_LOADERS = {
    "lpips": networks.load_lpips,
    "lpips_alex": networks.load_alex,
    "inception": inception.load_inception,
    "clip": clip.load_clip,
}
FILES = {
    "lpips": networks.LPIPS,
    "lpips_alex": networks.LPIPS_ALEX,
    "inception": inception.FILES,
    "clip": clip.FILES,
}


class Judges(NamedTuple):
    """What was found.

    Attributes:
        params: parameters by network.
        clip: the tower of "clip"; None without it.
        skipped: by metric, why it is not measured: files are missing.
        missing: the files that it would take.
        undefined: by metric, why it has no value here, whatever files there are.
        networks: by network, the names of its files, their SHA-256, and whether these are the published ones.
        notes: what a reader of the results must know of them.
    """

    params: dict[str, Params]
    clip: ClipVision | None
    skipped: dict[str, str]
    missing: list[PublishedFile]
    networks: dict[str, dict[str, Any]]
    notes: list[str]
    undefined: dict[str, str]

    def not_measured(self) -> list[str]:
        """What a user is told of metrics without a value, in lines."""
        lines = [f"not measured: {metric}: {reason}" for metric, reason in self.undefined.items()]
        if self.skipped:
            lines.append(f"not measured: {', '.join(self.skipped)}. To fetch their networks: {fetch_line(self.missing)}")
        return lines


def load_judges(metrics: Collection[str], undefined: Mapping[str, str] | None = None) -> Judges:
    """Loads what the given metrics need but for the undefined ones; without its files, a network's metrics are skipped.

    Raises:
        InputError: a file is there, but not the published one, or broken.
    """
    judges = Judges({}, None, {}, [], {}, [], dict(undefined or {}))
    metrics = [metric for metric in metrics if metric not in judges.undefined]
    unverified = []
    for name in dict.fromkeys(NEEDED_BY[metric] for metric in metrics if metric in NEEDED_BY):
        problem = _PROBLEMS[name]()
        if problem:
            judges.skipped.update({metric: problem for metric in metrics if NEEDED_BY.get(metric) == name})
            judges.missing.extend(FILES[name])
            continue
        found = _LOADERS[name]()
        if name == "clip":
            judges = judges._replace(clip=found.model)
        pair = isinstance(found, networks.LpipsWeights | networks.AlexLpipsWeights)
        judges.params[name] = found[:2] if pair else found.params  # of LPIPS: the trunk and its heads
        judges.networks[name] = {
            "files": {file.name: file.sha256 if found.verified else required.sha256(file) for file in FILES[name]},
            "verified": found.verified,
        }
        unverified += [] if found.verified else [name]
    if unverified:
        judges.notes.append(
            f"unverified: the weights of {', '.join(unverified)} are not the published files; do not compare these values"
        )
    return judges
