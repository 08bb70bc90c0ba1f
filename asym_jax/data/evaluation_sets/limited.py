"""The beginning of a set."""

from asym_jax.data.evaluation_sets.examples import EvaluationExample, EvaluationSet


class First(EvaluationSet):
    """The first examples of another set, which therefore keep their names, masks and numbers."""

    def __init__(self, examples: EvaluationSet, count: int) -> None:
        self.examples, self.size = examples, examples.size
        self._count = min(count, len(examples))

    def name(self, index: int) -> str:
        return self.examples.name(index)

    def __getitem__(self, index: int) -> EvaluationExample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.examples[index]

    def __repr__(self) -> str:
        return f"First({self._count} of {self.examples!r})"
