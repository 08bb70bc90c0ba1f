"""What is computed: the same for all peers of one comparison."""

from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """One comparison."""

    benchmark: str  # decode, encode, step, evaluate
    model: str
    size: int  # of pictures, in pixels
    batch: int  # pictures at once, on each device
    dtype: str
    folder: Path  # with the weights and inputs that all peers read
    mask: bool = True
    samples: int = 0  # latents of one picture and mask, instead of a batch of different ones
    devices: int = 1  # of ours; peers have one
    exact: bool = False  # float32 products keep all bits where TF32 could be had

    @property
    def what(self) -> str:
        """Without batch and type: `decode base 512 no mask`."""
        return f"{self.benchmark} {self.model} {self.size}" + ("" if self.mask else " no mask")

    @property
    def key(self) -> str:
        """Tells this case from all others of a file."""
        pictures = f"{self.samples} samples" if self.samples else f"batch {self.batch}"
        extra = (f" devices {self.devices}" if self.devices > 1 else "") + (" exact" if self.exact else "")
        return f"{self.model} {self.size} {pictures} {self.dtype}{'' if self.mask else ' no mask'}{extra}"

    @property
    def pictures(self) -> int:
        """Per call and device."""
        return self.samples or self.batch
