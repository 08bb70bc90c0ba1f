"""Some examples of a set as a set of their own."""

from collections.abc import Sequence

from asym_jax.data.evaluation_sets.examples import EvaluationExample, EvaluationSet
from asym_jax.errors import InputError


class Chosen(EvaluationSet):
    """Those examples, in that order, numbered anew; pictures and masks are those that they had before."""

    def __init__(self, examples: EvaluationSet, indices: Sequence[int], left_out: Sequence[str] = ()) -> None:
        super().__init__(len(indices), size=examples.size, sizing=examples.rule.name, masks=examples.masks)
        self.examples, self.indices, self.left_out = examples, tuple(indices), tuple(left_out)

    def name(self, index: int) -> str:
        return self.examples.name(self.indices[index])

    def captions(self, index: int) -> tuple[str, ...]:
        return self.examples.captions(self.indices[index])

    def __getitem__(self, index: int) -> EvaluationExample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.examples[self.indices[index]]._replace(index=index)


def first_with_masks(examples: EvaluationSet, limit: int | None = None) -> EvaluationSet:
    """The first `limit` examples, or all, but for pictures that have no mask, as LaMa's evaluation goes on without them.

    Those that were passed over on the way are `left_out`.

    Raises:
        InputError: not one picture has a mask.
    """
    kept, left_out = [], []
    for i in range(len(examples)):
        if len(kept) == limit:
            break
        if examples.masks and examples.masks.has_none(i, examples.name(i), examples.size):
            left_out.append(examples.name(i))
        else:
            kept.append(i)
    if left_out and not kept:
        raise InputError(f"masks {examples.masks!r}: every picture is left out, because all holes that were drawn are too large")
    return examples if len(kept) == len(examples) else Chosen(examples, kept, left_out)
