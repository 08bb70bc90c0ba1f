"""Any Python object with `len` and indices as a source of pictures."""

from typing import Protocol, runtime_checkable

from asym_jax.data.content import Content, to_picture
from asym_jax.data.entries import EntrySource
from asym_jax.data.pictures import Picture, UnreadablePicture


@runtime_checkable
class RandomAccess(Protocol):
    """A list, a PyTorch data set, a Hugging Face data set, a grain source, ...: elements by number, always the same ones."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Content: ...


class ObjectSource(EntrySource):
    """Elements of an object that `to_picture` understands.

    Args:
        name: identifies the object in messages and in `repr`; by default its type and length.
    """

    def __init__(self, elements: RandomAccess, name: str | None = None) -> None:
        super().__init__(len(elements))
        self.elements = elements
        self.title = name or f"{type(elements).__name__} of {len(elements)}"

    def read(self, entry: int) -> Picture:
        name = self.entry_name(entry)
        try:
            content = self.elements[entry]
        except Exception as error:  # foreign code: it may raise anything
            raise UnreadablePicture(name, f"{type(error).__name__}: {error}") from error
        return to_picture(content, name)

    def entry_name(self, entry: int) -> str:
        return f"{self.title}[{entry}]"

    def identity(self) -> str:
        return self.title
