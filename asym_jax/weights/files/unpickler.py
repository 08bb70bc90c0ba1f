"""Runs the pickles that `torch.save` writes, and no others.

Of some seventy opcodes these are the ones of protocol 2 that torch needs for
tensors, and Lightning for its checkpoints.
"""

import dataclasses
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any

from asym_jax.errors import InputError
from asym_jax.weights.files.pickle_machine import Bytes, Machine
from asym_jax.weights.files.pickled_values import Damaged, PickledDict, Storage

STEPS = 1_000_000
"""Opcodes of a pickle; torch writes about 40 for a tensor."""


@dataclasses.dataclass(frozen=True)
class Unpickled:
    """What a pickle describes.

    Attributes:
        value: None, bool, int, float, str, list, tuple or one of `pickled_values`.
        end: first byte after the pickle.
        storages: what its tensors refer to, by key.
    """

    value: Any
    end: int
    storages: dict[str, Storage]


def unpickle(data: Bytes, start: int = 0) -> Unpickled:
    """Runs the pickle that begins at byte `start`.

    Raises:
        InputError: it does what torch.save never asks for, or is too long.
        Damaged: it is no pickle, or not a whole one.
    """
    machine = Machine(data, start)
    for _ in range(STEPS):
        code = machine.take(1)
        if code == pickle.STOP:
            return Unpickled(machine.result(), machine.position, machine.storages)
        if code not in OPCODES:
            raise _refusal(code, machine.position - 1)
        argument, act = OPCODES[code]
        act(machine, argument(machine))
    raise InputError(f"its pickle has more than {STEPS:,} steps")


def _refusal(code: bytes, position: int) -> Exception:
    opcode = pickletools.code2op.get(code.decode("latin-1"))
    if opcode is None:
        return Damaged(f"byte {position:,} should be an opcode of a pickle, and is {code[0]}")
    return InputError(
        f"its pickle has the opcode {opcode.name}, which torch.save does not write in pickle protocol 2 (nothing in it was run). "
        "If you trust the file, load it with PyTorch and save its state_dict as safetensors"
    )


def _nothing(machine: Machine) -> None:
    return None


def _constant(value: Any) -> Callable[[Machine], Any]:
    return lambda machine: value


def _number(form: str) -> Callable[[Machine], int | float]:
    layout = struct.Struct(form)
    return lambda machine: layout.unpack(machine.take(layout.size))[0]


def _text(form: str) -> Callable[[Machine], str]:
    # Names in Python 2 are bytes; those that are no UTF-8 shall not stop the reading of the others.
    length = _number(form)
    return lambda machine: machine.take(length(machine)).decode("utf-8", "backslashreplace")


def _integer(machine: Machine) -> int:
    return int.from_bytes(machine.take(machine.take(1)[0]), "little", signed=True)


# What follows the opcode in the pickle, and what is then done with it.
OPCODES: dict[bytes, tuple[Callable[[Machine], Any], Callable[[Machine, Any], None]]] = {
    pickle.PROTO: (_number("<B"), Machine.check_protocol),
    # Values
    pickle.NONE: (_constant(None), Machine.push),
    pickle.NEWTRUE: (_constant(True), Machine.push),
    pickle.NEWFALSE: (_constant(False), Machine.push),
    pickle.BININT: (_number("<i"), Machine.push),
    pickle.BININT1: (_number("<B"), Machine.push),
    pickle.BININT2: (_number("<H"), Machine.push),
    pickle.LONG1: (_integer, Machine.push),
    pickle.BINFLOAT: (_number(">d"), Machine.push),
    pickle.BINUNICODE: (_text("<I"), Machine.push),
    pickle.BINSTRING: (_text("<I"), Machine.push),
    pickle.SHORT_BINSTRING: (_text("<B"), Machine.push),
    # Containers
    pickle.EMPTY_TUPLE: (_constant(()), Machine.push),
    pickle.EMPTY_LIST: (lambda machine: [], Machine.push),
    pickle.EMPTY_DICT: (lambda machine: PickledDict([]), Machine.push),
    pickle.MARK: (_nothing, Machine.mark),
    pickle.TUPLE: (_nothing, Machine.make_tuple_since_mark),
    pickle.TUPLE1: (_constant(1), Machine.make_tuple),
    pickle.TUPLE2: (_constant(2), Machine.make_tuple),
    pickle.TUPLE3: (_constant(3), Machine.make_tuple),
    pickle.APPEND: (_nothing, Machine.append),
    pickle.APPENDS: (_nothing, Machine.append_since_mark),
    pickle.SETITEM: (_nothing, Machine.set_item),
    pickle.SETITEMS: (_nothing, Machine.set_items_since_mark),
    # The memo: values that are used again
    pickle.BINPUT: (_number("<B"), Machine.remember),
    pickle.LONG_BINPUT: (_number("<I"), Machine.remember),
    pickle.BINGET: (_number("<B"), Machine.recall),
    pickle.LONG_BINGET: (_number("<I"), Machine.recall),
    # Names and calls
    pickle.GLOBAL: (_nothing, Machine.find_global),
    pickle.BINPERSID: (_nothing, Machine.find_storage),
    pickle.REDUCE: (_nothing, Machine.call),
    pickle.NEWOBJ: (_nothing, Machine.make_object),
    pickle.BUILD: (_nothing, Machine.set_state),
}
