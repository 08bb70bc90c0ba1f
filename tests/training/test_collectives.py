"""What devices send each other in an update: read off the compiled program, message by message."""

import math
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

from asym_jax.commands import load_preset
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.training.networks import Networks
from asym_jax.training.sharding import DATA, FSDP
from benchmarks.abstract_run import abstract_run, networks_of, with_settings
from benchmarks.collectives import KINDS, Collective, collectives_of, compiled_step
from tests.training.tiny import tiny_config

BATCH = 16
FEW = 64
"""Arrays with fewer values are never split."""

MOST = 256
"""Arrays that XLA puts into one message."""


class Speckled(Networks):
    """Masks whose program compiles quickly."""

    def draw_masks(self, key, image):
        return jax.random.bernoulli(key, shape=(*image.shape[:3], 1)).astype(jnp.float32)


def tiny(fsdp: int = 1, norm_images: int = 1, **changes):
    """One level, whose program compiles quickly."""
    config = tiny_config(
        "none",
        (8,),
        data={"image_size": 16, "batch_size": BATCH},
        critic={"channels": 8, "layers": 2, "norm_images": norm_images},
        sharding={"fsdp": fsdp, "smallest": FEW},
        **changes,
    )
    networks = networks_of(config, AutoencoderKL(block_out_channels=(8,), layers_per_block=1, norm_num_groups=2))
    return config, Speckled(**vars(networks))


def demo(fsdp: int = 1, norm_images: int = 1, **changes):
    """The preset, with all its levels and the autoencoder that comes along."""
    config = with_settings(
        load_preset("demo", Path(__file__).parents[2] / "configs"),
        data={"batch_size": BATCH},
        critic={"norm_images": norm_images},
        sharding={"fsdp": fsdp, "smallest": FEW},
        **changes,
    )
    return config, networks_of(config)


def messages(config, networks, devices: int, *, awake: bool = True) -> list[Collective]:
    return collectives_of(compiled_step(config, devices, networks, critic_awake=awake))


def leaves(config, networks, devices: int):
    """Shapes with places: of the frozen weights that an update reads, of the decoder, and of the critic."""
    fsdp = config.sharding.fsdp
    mesh = jax.make_mesh((devices // fsdp, fsdp), (DATA, FSDP), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:devices])
    frozen, state = abstract_run(config, networks, mesh)
    frozen["vae"].pop("decoder")
    return [jax.tree.leaves(tree) for tree in (frozen, state.decoder, state.critic)]


def values(leaves) -> int:
    return sum(leaf.size for leaf in leaves)


def assert_gradients(found: list[Collective], expected) -> None:
    """These messages carry each gradient once, and some scalars (what is logged, and sums of squares).

    (The two biases whose sum a block with a shortcut adds have the same gradient, which the compiler sends once.)
    """
    carried, wanted = Counter(shape for one in found for shape in one.shapes), Counter(leaf.shape for leaf in expected)
    assert carried.pop(()) > 0
    assert carried <= wanted
    assert (wanted - carried).total() <= 2 and all(len(shape) == 1 for shape in wanted - carried)


def assert_last_layer(one: Collective) -> None:
    """The adaptive weight is a ratio of two norms of gradients of the last layer, over the whole batch: they come before the
    backward pass, which the weight takes part in."""
    assert one.kind == "all-reduce"
    assert "last_layer" in one.place
    assert len(one.shapes) == 2 and all(shape[0] == shape[1] == shape[3] == 3 for shape in one.shapes)


def slow(*cases):
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


@pytest.mark.parametrize(
    ("prepare", "devices", "awake"),
    [(tiny, 8, True), *slow(*((demo, devices, awake) for devices in (1, 2, 4, 8) for awake in (False, True)))],
)
def test_copied_weights_take_one_message(prepare, devices, awake):
    """All gradients of decoder and critic, and all scalars; before it, the two that the adaptive weight needs."""
    config, networks = prepare()
    found = messages(config, networks, devices, awake=awake)
    if devices == 1:
        assert found == []
        return
    *first, last = found
    assert {one.group for one in found} == {devices}
    assert last.kind == "all-reduce"
    _, decoder, critic = leaves(config, networks, devices)
    assert_gradients([last], decoder + critic if awake else decoder)
    assert len(first) == awake
    for one in first:
        assert_last_layer(one)


@pytest.mark.parametrize(
    ("prepare", "devices", "fsdp"), [(tiny, 8, 8), *slow((demo, 2, 2), (demo, 4, 4), (demo, 8, 8), (demo, 8, 2))]
)
def test_split_weights_are_gathered_once_and_their_gradients_scattered_once(prepare, devices, fsdp):
    config, networks = prepare(fsdp)
    found = messages(config, networks, devices)
    frozen, decoder, critic = leaves(config, networks, devices)
    split, small = ([leaf for leaf in decoder + critic if leaf.sharding.is_fully_replicated == whole] for whole in (False, True))
    frozen = [leaf for leaf in frozen if not leaf.sharding.is_fully_replicated]
    assert len(split) > 10 and len(frozen) > 10
    gathered, scattered, reduced = ([one for one in found if one.kind == kind] for kind in KINDS[:3])
    assert len(gathered) + len(scattered) + len(reduced) == len(found)

    assert sorted(shape for one in gathered for shape in one.shapes) == sorted(leaf.shape for leaf in frozen + split)
    assert len(scattered) == len(split)
    assert sum(one.bytes for one in scattered) == 4 * values(split)
    assert {one.group for one in gathered + scattered} == {fsdp}

    last_layer, *averaged = reduced
    assert_last_layer(last_layer)
    # On a grid, gradients that were summed along one axis are summed along the other one.
    along_data = [(one.group, one.bytes) for one in averaged if one.group < devices and any(one.shapes)]
    assert along_data == [(devices // fsdp, 4 * values(split) // fsdp)] * (devices > fsdp)
    # What is too small to be split, and the scalars: those to be logged, and the sums of squares of what lies split.
    rest = [one for one in averaged if one.group == devices or not any(one.shapes)]
    assert_gradients(rest, small)
    assert len(rest) <= 1 + math.ceil(sum(len(one.shapes) for one in rest) / MOST)
    assert sum(one.sent for one in found) < 4 * 3 * values(frozen + decoder + critic)


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [1, 8])
def test_parts_of_a_batch_take_no_more_messages(fsdp):
    """Each part has its adaptive weight; what is copied is averaged once for all, what lies split is scattered part by part."""
    config, networks = tiny(fsdp, optim={"accumulate": 2})
    found = messages(config, networks, 8)
    inside = [one for one in found if "while" in one.place]
    last_layer = [one for one in inside if one.kind == "all-reduce"]
    assert len(last_layer) == 1
    assert_last_layer(last_layer[0])
    assert {one.kind for one in inside} == ({"all-reduce"} if fsdp == 1 else {"all-reduce", "reduce-scatter"})
    _, decoder, critic = leaves(config, networks, 8)
    outside = [one for one in found if one.kind == "all-reduce" and one not in inside]
    assert len(outside) == 1 if fsdp == 1 else len(outside) <= 2
    assert_gradients(outside, [leaf for leaf in decoder + critic if leaf.sharding.is_fully_replicated])


@pytest.mark.slow
@pytest.mark.parametrize(("norm_images", "groups"), [(4, 4), (16, 1)])
def test_statistics_of_several_devices_are_all_that_a_large_group_adds(norm_images, groups):
    """Two pictures lie on each device. Means and mean squares go there and, as cotangents, back: a few numbers per channel."""
    config, networks = tiny(norm_images=norm_images)
    found = messages(config, networks, 8)
    assert {one.kind for one in found} == {"all-reduce"}
    _, decoder, critic = leaves(config, networks, 8)
    arrays = [shape for one in found for shape in one.shapes]
    statistics = [shape for shape in arrays if shape in ((groups, 16), (groups, 32))]
    # Two statistics in each of two layers: of real and decoded pictures, and back for two losses of the latter, one of the former.
    assert len(statistics) <= 2 * 2 * (2 + 3)
    rest = Counter(arrays) - Counter(statistics) - Counter(dict.fromkeys([(3, 3, 8, 3)], 2))
    wanted = Counter(leaf.shape for leaf in decoder + critic)
    assert rest.pop(()) > 0
    assert rest == wanted


@pytest.mark.slow
def test_the_perceptual_loss_adds_no_message():
    config, networks = demo(loss={"perceptual": 1.0, "critic_start": 0, "adversarial_start": 0})
    assert len(messages(config, networks, 2)) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "  %a = (f32[3,2]{1,0}, /*index=1*/f32[]) all-reduce(%b, %c), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%r",
            Collective("all-reduce", ((3, 2), ()), 28, 2, ""),
        ),
        (
            '  %a = bf16[4,1]{1,0} reduce-scatter(%b), replica_groups=[2,4]<=[8], dimensions={1}, metadata={op_name="x/y"}',
            Collective("reduce-scatter", ((4, 1),), 32, 4, "x/y"),
        ),
        (
            "  ROOT %a = (f32[2]{0}, f32[8]{0}) all-gather-start(%b), replica_groups=mesh['x'=2,'y'=4] {'y'}, dimensions={0}",
            Collective("all-gather", ((8,),), 32, 4, ""),
        ),
        (
            "  %a = f32[2]{0} all-gather(%b), replica_groups=mesh['x'=2,'y'=4], device_ids=([4,2]T(1,0)) {'x','y'}, dimensions={0}",
            Collective("all-gather", ((2,),), 8, 8, ""),
        ),
        (
            "  %a = f32[2]{0} collective-permute(%b), source_target_pairs={{0,1}}",
            Collective("collective-permute", ((2,),), 8, 2, ""),
        ),
    ],
)
def test_messages_as_the_compiler_writes_them(line, expected):
    assert collectives_of(f"HloModule m\n{line}\n  %d = f32[] add(%e, %f)") == [expected]


def test_what_each_device_sends():
    """In a ring of four, whole arrays of 100 bytes: three quarters of each go out, and twice for a sum that all want."""
    assert [Collective(kind, (), 100, 4, "").sent for kind in KINDS[:3]] == [75, 75, 150]
