"""The peers of `decode`, `encode` and `evaluate` compute the same as ours, in every way of calling them."""

import jax
import pytest

from benchmarks import decode as decode_program
from benchmarks.measuring.agreement import agreed, compare
from benchmarks.peers import decode, encode
from benchmarks.peers.contest import Case
from benchmarks.peers.material import write_autoencoder

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

BOUND = decode_program.BOUNDS["float32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("shared")
    write_autoencoder(place, "tiny")
    return place


@pytest.fixture(autouse=True, scope="module")
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("options", [{"samples": 3}, {"devices": 2}], ids=str)
def test_decode(folder, options):
    case = Case("decode", "tiny", 32, 2, "float32", folder, **options)
    ours = decode.ours(case)
    ours.prepare()
    theirs = decode.torch(case, "cpu", True, None)
    exact = theirs.exact()
    theirs.prepare()
    assert exact["result"].shape == (case.pictures, 32, 32, 3)
    for peer in (ours, theirs):
        assert agreed(compare(peer.result(), exact, case.pictures), BOUND)
    # Speeds count a whole batch for each device.
    assert len(ours.result()["result"]) == case.pictures * case.devices


def test_decode_without_a_mask_in_all_three(folder):
    case = Case("decode", "tiny", 32, 2, "float32", folder, mask=False)
    exact = decode.torch(case, "cpu", False, None).exact()
    for peer in (decode.ours(case), decode.flax(case)):
        peer.prepare()
        assert agreed(compare(peer.result(), exact), BOUND)


def test_encode(folder):
    case = Case("encode", "tiny", 32, 2, "float32", folder)
    ours = encode.ours(case)
    facts = ours.prepare()
    assert facts["compile_seconds"] > 0 and facts["memory"]["temporaries"] > 0
    exact = encode.torch(case, "cpu", False, None).exact()
    assert exact.keys() == {"mean", "logvar"}
    assert agreed(compare(ours.result(), exact), BOUND)
    assert ours.device()["platform"] == jax.default_backend()
