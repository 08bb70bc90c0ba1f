"""Pickles made to harm, each with the reason for which it is refused."""

import struct

from tests.weights.files import forged
from tests.weights.files.forged import integer, integers, name, pickled, state_dict, storage, tensor, text, tuple_of


def weight(*arguments: bytes) -> bytes:
    return pickled(state_dict(weight=tensor(*arguments)))


def placed(value: bytes) -> bytes:
    return pickled(state_dict(weight=value))


def nested(opening: bytes, closing: bytes, depth: int = 5_000) -> bytes:
    return opening * depth + closing * depth


def values(count: int) -> bytes:
    """More opcodes than any file of torch.save has."""
    return pickled(b"}" * count)


def copies(count: int) -> bytes:
    """One list of pairs, and many dicts that are made of it."""
    pairs = b"](" + b"NN\x86" * 999 + b"eq\x00"
    return pickled(b"(" + pairs + (name("collections", "OrderedDict") + b"h\x00\x85R") * count + b"t")


def one_hash(count: int) -> bytes:
    """Keys that a dict of Python can tell apart only by comparing each with each."""
    return pickled(b"}(" + b"".join(integer((2**61 - 1) * n) + b"N" for n in range(1, count + 1)) + b"u")


COMMAND = name("posix", "system")
ANY = name("typing", "Any")
TORCH_SAVE = "which torch.save does not write"
# Thirty lists; each holds the one before it ten times: 10^30 values for whoever visits all.
LAUGHS = b"(]q\x00" + b"".join(b"]q%c(%se" % (level, b"h%c" % (level - 1) * 10) for level in range(1, 30)) + b"t"
# A pair of two equal pairs, and so on: 2^60 values for whoever hashes or compares it.
DOUBLED = b")" + b"q\x00h\x00\x86" * 60

CALLS = {
    "call of a command": (placed(COMMAND + tuple_of(text("touch {marker}")) + b"R"), r"refers to posix\.system"),
    "call of a command in Python 2": (
        placed(name("os", "system") + tuple_of(text("touch {marker}")) + b"R"),
        r"refers to os\.system",
    ),
    "eval": (placed(name("__builtin__", "eval") + tuple_of(text("touch {marker}")) + b"R"), r"__builtin__\.eval"),
    "getattr": (placed(name("__builtin__", "getattr") + tuple_of(ANY, text("x")) + b"R"), r"__builtin__\.getattr"),
    "object of a class": (placed(name("subprocess", "Popen") + tuple_of(text("touch {marker}")) + b"\x81"), r"subprocess\.Popen"),
    "state of an object": (
        placed(name("os", "_wrap_close") + b")R}(" + text("__setstate__") + COMMAND + b"ub"),
        r"os\._wrap_close",
    ),
    "dotted name": (
        placed(name("collections", "OrderedDict.__reduce__") + b")R"),
        r"refers to collections\.OrderedDict\.__reduce__",
    ),
    "dotted name in torch": (placed(name("torch", "_utils._rebuild_tensor_v2") + b")R"), r"refers to torch\._utils\._rebuild"),
    "torch.load itself": (placed(name("torch.serialization", "load") + tuple_of(text("x")) + b"R"), r"torch\.serialization\.load"),
    "nearly a known package": (placed(name("lightning_evil.x", "run") + b")R"), r"refers to lightning_evil\.x\.run"),
    "quantised tensor": (placed(name("torch._utils", "_rebuild_qtensor") + b")R"), "_rebuild_qtensor"),
    "sparse tensor": (placed(name("torch._utils", "_rebuild_sparse_tensor") + b")R"), "_rebuild_sparse_tensor"),
    "tensor without numbers": (placed(name("torch._utils", "_rebuild_meta_tensor_no_storage") + b")R"), "_rebuild_meta"),
    "name with terminal codes": (placed(name("os\x1b[2J", "system") + b")R"), r"refers to os\\x1b"),
    "INST": (placed(b"(" + text("touch {marker}") + b"iposix\nsystem\n"), f"opcode INST, {TORCH_SAVE}"),
    "OBJ": (placed(b"(" + ANY + b"o"), f"opcode OBJ, {TORCH_SAVE}"),
    "STACK_GLOBAL": (placed(text("posix") + text("system") + b"\x93"), f"opcode STACK_GLOBAL, {TORCH_SAVE}"),
    "EXT1": (placed(b"\x82\x01"), f"opcode EXT1, {TORCH_SAVE}"),
    "NEWOBJ_EX": (placed(ANY + b")}\x92"), f"opcode NEWOBJ_EX, {TORCH_SAVE}"),
    "PERSID": (placed(b"Pstorage\n"), f"opcode PERSID, {TORCH_SAVE}"),
    "FRAME": (pickled(b"\x95" + b"\xff" * 8), f"opcode FRAME, {TORCH_SAVE}"),
    "protocol 4": (b"\x80\x04" + forged.whole_pickle()[2:], "protocol 4; only 2"),
    "attribute of a function": (placed(forged.REBUILD + b"}(" + text("__call__") + COMMAND + b"ub"), r"posix\.system"),
    "attribute of a tensor function": (
        placed(forged.REBUILD + b"}(" + text("call") + b"Nub"),
        "sets attributes of torch._utils._rebuild",
    ),
    "attribute of a tensor": (placed(tensor() + b"}b"), "sets attributes of tensor"),
    "items of a tuple": (placed(tuple_of(b"N") + b"Na"), "puts items into a tuple"),
    "items of a storage type": (placed(name("torch", "FloatStorage") + b"NNs"), "puts items into a FloatStorage"),
    "call of a string": (placed(text("print") + b")R"), "calls 'print', which is no function"),
    "call of a storage type": (placed(name("torch", "FloatStorage") + b")R"), "calls FloatStorage, which is no function"),
    "object of a function": (placed(forged.REBUILD + b")\x81"), "makes an object of torch._utils._rebuild"),
}

CONTENTS = {
    "placeholder among the weights": (
        placed(name("pytorch_lightning.callbacks", "X") + b")R"),
        r"'weight': pytorch_lightning\.callbacks\.X",
    ),
    "number of numpy among the weights": (
        placed(name("numpy.core.multiarray", "scalar") + b")R"),
        "'weight': numpy.core.multiarray.scalar",
    ),
    "storage among the weights": (placed(storage()), "'weight': storage"),
    "key that is no name": (pickled(b"}" + ANY + tensor() + b"s"), r"typing\.Any: tensor"),
    "key that is a tuple": (pickled(b"}" + integers((1, 2)) + tensor() + b"s"), r"\(1, 2\): tensor"),
    "name with terminal codes among the weights": (pickled(b"}" + text("a\x1b[2Jb") + tensor() + b"s"), "which is no name"),
    "endless name": (pickled(b"}" + text("a" * 100_000) + tensor() + b"s"), "which is no name"),
    "name twice": (pickled(b"}(" + text("a") + tensor() + text("a") + tensor() + b"u"), "'a' twice"),
    "state dict twice": (pickled(b"}(" + (text("state_dict") + state_dict(a=tensor())) * 2 + b"u"), "'state_dict' twice"),
    "placeholder in a checkpoint's weights": (
        pickled(state_dict(state_dict=state_dict(a=ANY + b")R"), epoch=b"K\x01")),
        r"'a': typing\.Any",
    ),
    "pairs that are none": (pickled(name("collections", "OrderedDict") + tuple_of(b"]K\x01a") + b"R"), "entries that are no pairs"),
    "list in itself": (placed(b"]q\x00h\x00a"), "'weight': list"),
    "dict in itself": (pickled(b"}q\x00" + text("state_dict") + b"h\x00s"), "'state_dict': dict"),
    "billion laughs": (placed(LAUGHS), "'weight': tuple"),
    "deep tuples": (placed(b")" + b"\x85" * 10_000), "'weight': tuple"),
    "deep lists": (placed(b"]" + nested(b"]", b"a")), "'weight': list"),
    "deep dicts": (placed(b"}" + nested(b"N}", b"s")), "'weight': dict"),
    "tuple that takes for ever to hash": (pickled(b"}" + DOUBLED + b"Ns"), r"\(tuple, tuple\): NoneType"),
    "numbers with one hash": (one_hash(2_000), "2305843009213693951: NoneType"),
    "many copies": (copies(1_000), "it holds a tuple"),
}

BROKEN = {
    "huge LONG4": (placed(b"\x8b" + struct.pack("<i", 2**31 - 1)), "opcode LONG4"),
    "huge text": (placed(b"X" + struct.pack("<I", 2**32 - 1)), "ends in the middle of a pickle"),
    "text of negative length": (placed(b"T" + struct.pack("<i", -1)), "ends in the middle of a pickle"),
    "huge BINUNICODE8": (placed(b"\x8d" + struct.pack("<Q", 2**63)), "opcode BINUNICODE8"),
    "huge BINBYTES8": (placed(b"\x8e" + struct.pack("<Q", 2**63)), "opcode BINBYTES8"),
    "huge BYTEARRAY8": (placed(b"\x96" + struct.pack("<Q", 2**40)), "opcode BYTEARRAY8"),
    "huge decimal": (placed(b"I" + b"9" * 100_000 + b"\n"), "opcode INT"),
    "huge memo": (placed(b"Nr" + struct.pack("<I", 2**32 - 1)), "numbers a value 4,294,967,295"),
    "empty memo": (placed(b"h\x07"), "recalls value 7, which it never stored"),
    "empty stack": (pickled(b"R"), "uses values that are not there"),
    "values behind a mark": (pickled(b"}NN(s"), "uses values that are not there"),
    "top behind a mark": (pickled(b"](Na"), "uses values that are not there"),
    "mark that is not there": (pickled(b"}u"), "uses a mark that is not there"),
    "marks left over": (pickled(b"((}"), "stops with more or less than one value"),
    "values left over": (pickled(b"}}"), "stops with more or less than one value"),
    "nothing": (pickled(b""), "stops with more or less than one value"),
    "key without a value": (pickled(b"}(" + text("a") + b"u"), "a key without a value"),
    "no end": (forged.whole_pickle()[:-1], "ends in the middle of a pickle"),
    "name without an end": (pickled(b"c" + b"a" * 5_000), "names something without an end"),
    "byte that is no opcode": (pickled(b"\xff"), "should be an opcode of a pickle, and is 255"),
    "arguments that are no tuple": (placed(forged.REBUILD + b"]R"), "arguments that are no tuple"),
}

MISDESCRIBED, BEYOND = "described by something else", "reaches beyond the end"
NO_STORAGE = "which is not a whole storage of a known type"
ONE = integers((1,))
TENSORS = {
    "negative shape": (weight(b"", b"K\x00", integers((-2, 3))), MISDESCRIBED),
    "negative stride": (weight(b"", b"K\x00", integers((2, 3)), integers((3, -1))), MISDESCRIBED),
    "negative offset": (weight(b"", integer(-1)), MISDESCRIBED),
    "NaN in a shape": (weight(b"", b"K\x00", tuple_of(b"G" + struct.pack(">d", float("nan"))), ONE), MISDESCRIBED),
    "fraction in a shape": (weight(b"", b"K\x00", tuple_of(b"G" + struct.pack(">d", 2.0)), ONE), MISDESCRIBED),
    "truth in a shape": (weight(b"", b"K\x00", tuple_of(b"\x88"), ONE), MISDESCRIBED),
    "truth as offset": (weight(b"", b"\x88", ONE, ONE), MISDESCRIBED),
    "text as shape": (weight(b"", b"K\x00", text("23"), text("31")), MISDESCRIBED),
    "tensor as storage": (weight(tensor()), MISDESCRIBED),
    "more strides than axes": (weight(b"", b"K\x00", ONE, integers((3, 1))), MISDESCRIBED),
    "a thousand axes": (weight(b"", b"K\x00", integers((1,) * 1_000), integers((1,) * 1_000)), MISDESCRIBED),
    "huge shape": (weight(b"", b"K\x00", integers((2**62,)), ONE), BEYOND),
    "shape whose product overflows": (weight(b"", b"K\x00", integers((2**32, 2**32)), integers((2**32, 1))), BEYOND),
    "shape of 255 bytes": (weight(b"", b"K\x00", integers((2**2030,)), ONE), BEYOND),
    "offset beyond the end": (weight(b"", integer(6), ONE, ONE), BEYOND),
    "empty tensor beyond the end": (weight(b"", integer(7), integers((0,)), ONE), BEYOND),
    "last number beyond the end": (weight(b"", b"K\x00", integers((2, 3)), integers((4, 1))), BEYOND),
    "repeated without end": (weight(b"", b"K\x00", integers((2**40,)), integers((0,))), "repeats the 6 numbers"),
    "repeated without end and empty": (weight(b"", b"K\x00", integers((0, 2**62)), integers((0, 0))), "repeats the 6 numbers"),
    "negated": (weight(b"", b"K\x00", ONE, ONE, state_dict(neg=b"\x88")), "marked as conjugate or negated"),
    "no arguments": (placed(forged.REBUILD + b")R"), MISDESCRIBED),
    "parameter of nothing": (
        placed(name("torch._utils", "_rebuild_parameter") + tuple_of(b"N", b"\x88") + b"R"),
        "holds no tensor",
    ),
    "size of a number": (placed(name("torch", "Size") + tuple_of(b"N") + b"R"), "torch.Size"),
    "reference to a module": (placed(tuple_of(text("module"), ANY, text("a.py"), text("code")) + b"Q"), NO_STORAGE),
    "reference to a number": (placed(b"K\x07Q"), NO_STORAGE),
    "reference to nested tuples": (placed(DOUBLED + b"Q"), NO_STORAGE),
    "storage of an unknown type": (placed(storage("0", "ComplexFloatStorage")), "torch.ComplexFloatStorage"),
    "storage of negative length": (weight(storage("0", "FloatStorage", -6)), NO_STORAGE),
    "storage of true length": (placed(storage().replace(integer(6), b"\x88")), NO_STORAGE),
    "part of a storage": (weight(storage("0", "FloatStorage", 6, integers((0, 3)))), NO_STORAGE),
    "storage described in two ways": (
        pickled(state_dict(a=tensor(), b=tensor(storage("0", "IntStorage", 6)))),
        "storage '0' is described in two ways",
    ),
    "storage outside its folder": (weight(storage("../data.pkl")), r"storage '\.\./data.pkl' is missing"),
    "storage of another type": (weight(storage("0", "DoubleStorage", 6)), "has 24 bytes, and 48 were announced"),
    "storage that is too short": (weight(storage("0", "FloatStorage", 7)), "has 24 bytes, and 28 were announced"),
    "storage that is too long": (
        weight(storage("0", "FloatStorage", 5), b"K\x00", ONE, ONE),
        "has 24 bytes, and 20 were announced",
    ),
    "storage beyond all sizes": (weight(storage("0", "FloatStorage", 2**2000)), NO_STORAGE),
    "storage beyond all files": (
        weight(storage("0", "FloatStorage", 2**50)),
        "has 24 bytes, and 4,503,599,627,370,496 were announced",
    ),
    "storage that is missing": (weight(storage("2")), "storage '2' is missing"),
}

PICKLES = {**CALLS, **CONTENTS, **BROKEN, **TENSORS}
