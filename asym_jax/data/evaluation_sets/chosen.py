"""Some examples of a set as a set of their own."""

from collections.abc import Sequence

from asym_jax.data.evaluation_sets.examples import EvaluationExample, EvaluationSet
from asym_jax.data.evaluation_sets.masks import MaskFolder


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


def with_masks_only(examples: EvaluationSet) -> EvaluationSet:
    """Without the pictures for which a mask set has none, as LaMa's evaluation goes on without them; they are `left_out`."""
    masks = examples.masks
    if not isinstance(masks, MaskFolder) or not masks.rejected:
        return examples
    names = [examples.name(i) for i in range(len(examples))]
    kept = [i for i, name in enumerate(names) if not masks.has_none(i, name)]
    return Chosen(examples, kept, [name for i, name in enumerate(names) if masks.has_none(i, name)])
