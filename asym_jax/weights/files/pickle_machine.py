"""The stack machine that a pickle is a program for, as far as PyTorch needs it.

Python's own calls what it is told to, and can be made to take for ever. Here
strings and numbers stand in the pickle itself, no value is ever walked through,
compared or hashed, and nothing is recursive: so the length of the pickle bounds
the work.
"""

import mmap
from typing import Any

from asym_jax.errors import InputError
from asym_jax.weights.files import stand_ins
from asym_jax.weights.files.pickled_values import Damaged, Function, PickledDict, Placeholder, Storage, kind_of, shown

Bytes = bytes | mmap.mmap

LONGEST = 64 * 2**20
"""Bytes of a pickle; torch writes about 150 for a tensor."""

LONGEST_NAME = 1_000
"""Bytes of the name of a module, function or class."""


class Machine:
    """A stack, a memo, and a place in the pickle."""

    def __init__(self, data: Bytes, start: int) -> None:
        self.data = data
        self.start = self.position = start
        self.end = min(len(data), start + LONGEST)
        self.stack: list[Any] = []
        self.marks: list[int] = []  # heights of the stack
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}

    def result(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise self.damage("stops with more or less than one value")
        return self.stack[0]

    def damage(self, reason: str) -> Damaged:
        return Damaged(f"the pickle before byte {self.position:,} {reason}")

    # Reading

    def take(self, count: int) -> bytes:
        start, self.position = self.position, self.position + count
        if self.position > self.end:
            if self.end < len(self.data):
                raise InputError(f"a pickle in it is longer than {LONGEST // 2**20} MiB")
            raise Damaged("it ends in the middle of a pickle")
        return self.data[start : self.position]

    def line(self) -> str:
        stop = self.data.find(b"\n", self.position, min(self.end, self.position + LONGEST_NAME))
        if stop < 0:
            raise self.damage("names something without an end")
        return self.take(stop + 1 - self.position)[:-1].decode("utf-8", "backslashreplace")

    # The stack

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def top(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.damage("uses values that are not there")
        return self.stack[-1]

    def pop(self) -> Any:
        value = self.top()
        self.stack.pop()
        return value

    def mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise self.damage("uses a mark that is not there")
        height = self.marks.pop()
        values = self.stack[height:]
        del self.stack[height:]
        return values

    def remember(self, index: int) -> None:
        if index > self.position - self.start:
            raise self.damage(f"numbers a value {index:,} before it has had so many")
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise self.damage(f"recalls value {index:,}, which it never stored")
        self.push(self.memo[index])

    # Containers

    def make_tuple(self, count: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(count)])))

    def make_tuple_since_mark(self, _: None) -> None:
        self.push(tuple(self.since_mark()))

    def append(self, _: None) -> None:
        self.add(list, [self.pop()])

    def append_since_mark(self, _: None) -> None:
        self.add(list, self.since_mark())

    def set_item(self, _: None) -> None:
        value, key = self.pop(), self.pop()
        self.add(PickledDict, [(key, value)])

    def set_items_since_mark(self, _: None) -> None:
        values = self.since_mark()
        if len(values) % 2:
            raise self.damage("has a key without a value")
        self.add(PickledDict, list(zip(values[::2], values[1::2], strict=True)))

    def add(self, wanted: type, items: list[Any]) -> None:
        match self.top():
            case Placeholder():
                return
            case PickledDict(entries) if wanted is PickledDict:
                entries.extend(items)
            case list() as values if wanted is list:
                values.extend(items)
            case other:
                raise InputError(f"it puts items into a {kind_of(other)}")

    # Whatever would be imported, called or changed

    def find_global(self, _: None) -> None:
        module, name = self.line(), self.line()
        self.push(stand_ins.stand_in(module, name))

    def find_storage(self, _: None) -> None:
        found = stand_ins.storage(self.pop())
        if self.storages.setdefault(found.key, found) != found:
            raise InputError(f"storage {shown(found.key)} is described in two ways")
        self.push(found)

    def call(self, _: None) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple):
            raise self.damage("calls something with arguments that are no tuple")
        match function:
            case Function(_, replacement):
                self.push(replacement(arguments))
            case Placeholder():
                self.push(function)
            case _:
                raise InputError(f"it calls {shown(function)}, which is no function")

    def make_object(self, _: None) -> None:
        arguments, made = self.pop(), self.pop()
        if not isinstance(made, Placeholder) or not isinstance(arguments, tuple):
            raise InputError(f"it makes an object of {shown(made)}, which is no class of a training checkpoint")
        self.push(made)

    def set_state(self, _: None) -> None:
        self.pop()
        # State dicts of modules have an attribute `_metadata`, with versions of layers. It is not needed.
        if not isinstance(self.top(), PickledDict | Placeholder):
            raise InputError(f"it sets attributes of {shown(self.top())}")

    def check_protocol(self, version: int) -> None:
        if version != 2:
            raise InputError(f"it was saved with pickle protocol {version}; only 2, the default of torch.save, is read")
