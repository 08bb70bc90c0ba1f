"""What an evaluation looks at: numbered examples, decoded when they are asked for, none of which may go missing."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from asym_jax.data.entries import fingerprint
from asym_jax.data.evaluation_sets.masks import Masks, read_mask
from asym_jax.data.evaluation_sets.sizing import MaskPixels, Sizing, find_sizing, square_mask
from asym_jax.data.pictures import Picture, UnreadablePicture, read_picture
from asym_jax.errors import InputError


class EvaluationExample(NamedTuple):
    """One picture of a set, at the size of the evaluation."""

    index: int
    name: str  # without extension; unlike any other's; may contain folders
    pixels: UInt8[np.ndarray, "S S 3"]
    mask: Float[np.ndarray, "S S 1"] | None = None  # 1 = hole
    reference: UInt8[np.ndarray, "h w 3"] | None = None  # what Paint-by-Example is shown, as stored
    captions: tuple[str, ...] = ()


class EvaluationSet:
    """Examples by index, always the same ones; subclasses say where each part lies.

    Attributes:
        size: side of every picture and mask.
        sizing: the rule that makes squares of that size.
        masks: where masks come from that are not part of the data set itself; None for no masks.
    """

    sizing = "centre"
    """The rule unless another is chosen."""

    left_out: tuple[str, ...] = ()
    """Names of examples that were passed over on purpose, for a report to say so."""

    def __init__(self, count: int, *, size: int, sizing: str | None = None, masks: Masks | None = None) -> None:
        self._count = count
        self.size, self.masks = size, masks
        self.rule: Sizing = find_sizing(sizing or self.sizing)

    def picture(self, index: int) -> Picture:
        """The picture as stored. Raises UnreadablePicture."""
        raise NotImplementedError

    def name(self, index: int) -> str:
        """Its name, without decoding it."""
        raise NotImplementedError

    def captions(self, index: int) -> tuple[str, ...]:
        """What it shows, without decoding it."""
        return ()

    def own_mask(self, index: int) -> MaskPixels | None:
        """The mask that the data set itself gives, if it does; of the picture's size."""
        return None

    def reference(self, index: int) -> Picture | None:
        """The picture that is to appear in the hole, if there is one. Raises UnreadablePicture."""
        return None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> EvaluationExample:
        """Raises IndexError beyond the end, and InputError, with the file's name, if anything of it cannot be read."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        name = self.name(index)
        try:
            picture, reference = self.picture(index), self.reference(index)
            pixels = self.rule.picture(picture, self.size)
        except UnreadablePicture as error:
            raise InputError(f"{error.path} cannot be read ({error.reason}); an evaluation leaves no picture out") from error
        except ValueError as error:
            raise InputError(f"{name}: {error}") from error
        return EvaluationExample(index, name, pixels, self._mask(index, name, picture), reference, self.captions(index))

    def __repr__(self) -> str:
        """Identifies the set: two that say the same hold pictures of the same names, at the same size."""
        names = fingerprint(self.name(i) for i in range(len(self)))
        masks = f", masks {self.masks!r}" if self.masks else ""
        return f"{type(self).__name__}({len(self)} pictures of {self.size}, {self.rule.name}, names {names}{masks})"

    def _mask(self, index: int, name: str, picture: Picture) -> Float[np.ndarray, "S S 1"] | None:
        given = self.masks(index, name, self.size) if self.masks else self.own_mask(index)
        if given is None:
            return None
        if given.shape == picture.shape[:2]:
            given = square_mask(given, self.size)
        elif given.shape != (self.size, self.size):
            raise InputError(
                f"the mask of {name} is {_size(given.shape)}; expected {_size(picture.shape)} as its picture, "
                f"or {self.size} x {self.size} as the evaluation"
            )
        return (given[..., None] >= 128).astype(np.float32)


class FileSet(EvaluationSet):
    """Pictures that are files, with names and masks of their own."""

    def __init__(
        self,
        paths: list[Path],
        names: list[str],
        own_masks: list[Path] | None = None,
        *,
        size: int,
        sizing: str | None = None,
        masks: Masks | None = None,
    ) -> None:
        super().__init__(len(paths), size=size, sizing=sizing, masks=masks)
        self.paths, self.names, self.mask_paths = paths, names, own_masks

    def picture(self, index: int) -> Picture:
        return read_picture(self.paths[index])

    def name(self, index: int) -> str:
        return self.names[index]

    def own_mask(self, index: int) -> MaskPixels | None:
        return read_mask(self.mask_paths[index]) if self.mask_paths else None


def require_files(what: str, paths: list[Path]) -> None:
    """Raises InputError if any file is missing, before hours of evaluation; it names the first and counts them all."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"{what}: {len(missing)} of {len(paths)} files are missing; the first is {missing[0]}")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
