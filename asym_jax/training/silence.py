"""The log of a process that has nothing to say."""

from collections.abc import Mapping

from rich.console import Console

from asym_jax.training.log import Log


class Silence(Log):
    """Does nothing: of several processes only the first writes."""

    def __init__(self) -> None:
        self.console = Console(quiet=True)

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def advance(self, step: int) -> None:
        pass

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def status(self, step: int, loss: float, images_per_second: float, batch_size: int) -> None:
        pass
