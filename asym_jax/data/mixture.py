"""Weighted mixtures of sources, in exact proportions."""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

from asym_jax.data.pictures import Picture
from asym_jax.data.source import Source, part_of
from asym_jax.errors import InputError

LONGEST_ROUND = 10_000
"""Pictures after which the pattern of a mixture repeats, at most."""


class Mixture:
    """Pictures of several sources, each with its own share.

    Picture i comes from component `place(i)[0]`, a function of i alone that spreads every component evenly and repeats
    after a *round*: the smallest number of pictures in which all shares are whole (10 for 0.7 and 0.3). Any stretch of
    whole rounds holds the exact shares.

    A mixture has no epochs of its own. Each component goes through epochs of its own, in a new order each time, and
    begins the next one as soon as it is used up; a small component with a large share repeats sooner.

    Args:
        weights: shares, in proportion to one another. As text or Fraction they are exact.

    Attributes:
        components: the sources.
    """

    def __init__(self, components: Sequence[Source], weights: Sequence[Fraction | str | float | int]) -> None:
        if not components or len(components) != len(weights):
            raise InputError(f"a mixture needs one weight for each source, not {len(weights)} for {len(components)}")
        if any(isinstance(component, Mixture) for component in components):
            raise InputError("a mixture cannot be part of a mixture: multiply the weights out")
        self.components = tuple(components)
        self.weights = tuple(Fraction(str(weight)) for weight in weights)
        self.counts = _whole_shares(self.weights)
        self._length = sum(map(len, components))

    @property
    def skipped(self) -> dict[str, str]:
        """Reason by name of every picture found unreadable so far, in any component."""
        return functools.reduce(lambda all, component: all | component.skipped, self.components, {})

    def place(self, index: int) -> tuple[int, int]:
        """The component that picture `index` of the endless mixture comes from, and how many it gave before."""
        rounds, position = divmod(index, sum(self.counts))
        component, before = _pattern(self.counts)[position]
        return component, rounds * self.counts[component] + before

    def __len__(self) -> int:
        """As many as all components have together."""
        return self._length

    def __getitem__(self, index: int) -> Picture:
        return self.components[self.place(self._checked(index))[0]][self._position(index)]

    def __repr__(self) -> str:
        return f"Mixture({' + '.join(f'{weight} * {part!r}' for weight, part in zip(self.weights, self.components, strict=True))})"

    def name(self, index: int) -> str:
        return self.components[self.place(self._checked(index))[0]].name(self._position(index))

    def split(self, held_out: int) -> tuple["Mixture", "Mixture"]:
        """Everything but `held_out` pictures, and those: from the end of every component, in proportion to the weights.

        Raises:
            InputError: nothing would be left of a component.
        """
        taken = [0] * len(self.components)
        for index in range(held_out):
            taken[self.place(index)[0]] += 1
        for component, count in zip(self.components, taken, strict=True):
            if count >= len(component):
                raise InputError(f"holding out {count} of the {len(component)} pictures of {component!r} leaves none to train on")
        borders = [len(component) - count for component, count in zip(self.components, taken, strict=True)]
        training = [part_of(component, 0, border) for component, border in zip(self.components, borders, strict=True)]
        measured = [part_of(component, border, len(component)) for component, border in zip(self.components, borders, strict=True)]
        return Mixture(training, self.weights), Mixture(measured, self.weights)

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return index

    def _position(self, index: int) -> int:
        component, position = self.place(index)
        return position % len(self.components[component])


def _whole_shares(weights: Sequence[Fraction]) -> tuple[int, ...]:
    if min(weights) <= 0:
        raise InputError(f"the weights of a mixture must be above 0, not {', '.join(map(str, map(float, weights)))}")
    denominator = math.lcm(*(weight.denominator for weight in weights))
    counts = [int(weight * denominator) for weight in weights]
    counts = [count // math.gcd(*counts) for count in counts]
    if sum(counts) > LONGEST_ROUND:
        shown = ", ".join(map(str, map(float, weights)))
        raise InputError(f"the weights {shown} only come out even after {sum(counts):,} pictures: round them to fewer digits")
    return tuple(counts)


@functools.lru_cache(maxsize=64)
def _pattern(counts: tuple[int, ...]) -> list[tuple[int, int]]:
    """One round: for every position the component, and how many that component gave before in this round.

    Each position goes to the component that is furthest behind its share ("smooth weighted round-robin").
    """
    total, credit, given, pattern = sum(counts), [0] * len(counts), [0] * len(counts), []
    for _ in range(total):
        credit = [have + count for have, count in zip(credit, counts, strict=True)]
        chosen = max(range(len(counts)), key=credit.__getitem__)
        credit[chosen] -= total
        pattern.append((chosen, given[chosen]))
        given[chosen] += 1
    return pattern
