"""What is asked of the programs, and what the chip could give at best."""

from typing import Any, NamedTuple


class Limit(NamedTuple):
    """Pictures per second on one H200 in bfloat16."""

    asked: float
    aimed_at: float
    roofline: float
    """From operations and bytes at 790 TFLOP/s and 4.3 TB/s: every convolution at the larger of both times, normalisations
    and additions as separate kernels, upsampling as four small convolutions."""


H200 = {
    "step base 256": Limit(130, 160, 239),
    "step large 256": Limit(62, 75, 110),
    "step large2x 256": Limit(30, 37, 52),
    "decode base 512": Limit(120, 150, 206),
    "decode large 512": Limit(52, 65, 86),
    "decode large2x 512": Limit(24, 30, 39),
    "decode base 512 no mask": Limit(150, 190, 267),
}

CPU_RATIOS = {
    "decode base 256": {"torch channels last": 1.8, "torch compiled": 1.7},
    "decode large 256": {"torch channels last": 1.8, "torch compiled": 1.7},
    "decode base 512": {"torch channels last": 1.8, "torch compiled": 1.7},
    "step base 128": {"reference": 1.4},
}
GPU_RATIOS = {
    "decode": {"torch compiled": 1.05},
    "step": {"reference": 3.0, "reference autocast": 2.0, "fused compiled": 1.0},
}
"""How many times as fast as a peer: float32 on two cores, and bfloat16 on an H200."""


def asked_ratios(what: str, *, platform: str, dtype: str) -> dict[str, float]:
    """By peer; empty if nothing is asked. `what` is like "decode base 512"."""
    if platform == "cpu" and dtype == "float32":
        return CPU_RATIOS.get(what, {})
    if platform == "gpu" and dtype == "bfloat16" and what in H200:
        return GPU_RATIOS.get(what.partition(" ")[0], {})
    return {}


def shares(what: str, pictures_per_second: float, *, device: str, dtype: str) -> dict[str, Any]:
    """Against the limits of this chip, of one device; empty where they are not known."""
    if what not in H200 or "H200" not in device or dtype != "bfloat16":
        return {}
    limit = H200[what]
    return {
        "asked": limit.asked,
        "aimed_at": limit.aimed_at,
        "roofline": limit.roofline,
        "share_of_the_roofline": pictures_per_second / limit.roofline,
    }
