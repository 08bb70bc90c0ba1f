"""What XLA says that a compiled program needs."""

from typing import NamedTuple

import jax

GIB = 2**30


class Costs(NamedTuple):
    """Of one device and one call."""

    flops: float
    arguments: int  # bytes; so are the following
    temporaries: int
    outputs: int  # without those that take the place of arguments

    @property
    def memory(self) -> int:
        """Bytes in use at once."""
        return self.arguments + self.temporaries + self.outputs

    def __str__(self) -> str:
        return (
            f"{self.flops / 1e9:,.1f} GFLOP and {self.memory / GIB:.2f} GiB per device (arguments {self.arguments / GIB:.2f}, "
            f"temporaries {self.temporaries / GIB:.2f}, new outputs {self.outputs / GIB:.2f})"
        )


def costs_of(compiled: jax.stages.Compiled, repeats: int = 1) -> Costs:
    """XLA's own analysis; `repeats` is how often the program's loop runs, whose body it counts once.

    What lies outside the loop is multiplied too: an update of a few operations per parameter, next to thousands.
    """
    memory = compiled.memory_analysis()
    return Costs(
        flops=compiled.cost_analysis().get("flops", 0.0) * repeats,
        arguments=memory.argument_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        outputs=memory.output_size_in_bytes - memory.alias_size_in_bytes,
    )
