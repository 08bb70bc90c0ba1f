"""Both PyTorch peers of `benchmarks.step` against our update, on the same weights, noise and masks."""

import jax
import numpy as np
import pytest

from benchmarks.measuring.agreement import agreed, compare
from benchmarks.peers.contest import Case
from benchmarks.peers.material import write_autoencoder, write_losses
from benchmarks.peers.step import COMPARED, COMPARED_OF_CRITIC, OurStep
from benchmarks.step import BOUNDS

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from benchmarks.peers.torch_step import fused, reference  # noqa: E402


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    write_autoencoder(folder, "tiny")
    write_losses(folder, "tiny")
    return Case("step", "tiny", 32, 2, "float32", folder)


@pytest.fixture(scope="module")
def ours(case):
    before = jax.config.jax_compilation_cache_dir
    step = OurStep(case, awake=True)
    yield step._find()
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(scope="module")
def peers(case):
    threads = torch.get_num_threads()
    made = {"reference": reference(case, "cpu", False), "fused": fused(case, "cpu", None)}
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def test_both_procedures_agree(peers):
    errors = compare(peers["fused"].exact(), peers["reference"].exact())
    assert agreed(errors, BOUNDS["float32"]), errors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "fused"])
def test_losses_weight_and_gradients_agree(ours, peers, name):
    theirs = peers[name].exact()
    assert len(theirs) == len(ours) == 3 + len(COMPARED) + len(COMPARED_OF_CRITIC)
    errors = compare(ours, theirs)
    print(name, max(error["largest"] for error in errors.values()))
    assert agreed(errors, BOUNDS["float32"]), errors
    assert all(np.abs(value).max() > 0 for value in theirs.values())
    # The critic is felt, and its hinge is neither all open nor all shut.
    assert 0 < theirs["adaptive weight"] < 1e9
    assert 0.01 < theirs["critic's loss"] < 10


@pytest.mark.slow
def test_on_two_devices_each_has_the_whole_batch(case, peers):
    step = OurStep(case._replace(devices=2), awake=True)
    assert step.pixels.shape == (4, 32, 32, 3) and step.config.data.batch_size == 4
    errors = compare(step._find(), peers["fused"].exact())
    assert agreed(errors, BOUNDS["float32"]), errors


def test_comparing_does_not_train_and_updating_does(peers):
    step = peers["fused"]
    before = {name: value.detach().clone() for name, value in step.named.items()}
    step.exact()
    assert all(torch.equal(before[name], value) for name, value in step.named.items())
    step.run(1)
    unchanged = [name for name, value in step.named.items() if torch.equal(before[name], value)]
    assert unchanged in ([], ["mid_block.attentions.0.to_k.bias"])  # softmax does not see it
