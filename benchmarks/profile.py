"""Where the time of decoding and of training goes: every part alone, beside the least time that this machine could need for it.

    python -m benchmarks.profile [--model base] [--size 256] [--batch 1] [--dtype float32]

The least time (the floor) is that of the part's operations at the rate of one large matrix product, or of its bytes (weights,
inputs and results, each moved once) at the rate of one large copy, whichever is more; both rates are measured in the same run.
Operations are those of direct convolutions, so that a form with fewer of them can be faster than the floor. Parts are timed
in turn.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from asym_jax.arrays import Params
from asym_jax.losses.lpips import lpips
from asym_jax.models.autoencoder import AsymmetricAutoencoderKL
from asym_jax.models.convolutions import at_most
from asym_jax.models.critic import Critic
from asym_jax.training.step import Parts, criticise
from asym_jax.weights.architecture import abstract_params
from benchmarks.measuring import operations
from benchmarks.measuring.machine import description, slug, versions
from benchmarks.measuring.record import RESULTS, write_case
from benchmarks.measuring.rounds import Sample, in_turn, summary
from benchmarks.peers.contest import Case
from benchmarks.peers.material import MODELS, critic_of, drawn, latents, masks, pictures, read_arrays, shape_of, write_losses
from benchmarks.peers.ours import matrix_rate

COPIED = {"cpu": 2**28, "gpu": 2**32, "tpu": 2**30}
"""Bytes of the large copy, by platform."""


class Part(NamedTuple):
    """A pure function, and what it is given."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    gflop: float


def decoder_parts(case: Case, model: AsymmetricAutoencoderKL, params: Params) -> Iterator[Part]:
    """The decoder from latents to pixels, each part forward and then with its gradients at weights and inputs."""
    shape = shape_of(case.model)
    widths = shape.decoder[::-1]
    side = case.size // 2 ** (len(widths) - 1)

    def features(side: int, width: int) -> jax.Array:
        return jax.random.normal(jax.random.key(side), (case.batch, side, side, width), case.dtype)

    def parts() -> Iterator[tuple[str, Callable[[AsymmetricAutoencoderKL, Any], Any], Any, float]]:
        yield (
            "condition encoder",
            lambda model, image: model.condition(image, jnp.asarray(masks(case.size, case.batch))).pyramid,
            pictures(case.size, case.batch),
            operations.condition_encoder(shape, case.size),
        )
        yield (
            f"middle, {side} px, {widths[0]} channels",
            lambda model, latents: model.decoder.begin(latents),
            latents(case.size, case.batch),
            operations.convolution(side, 3, shape.latents, widths[0]) + operations.middle(side, widths[0]),
        )
        here = side
        for level, (narrow, wide) in enumerate(zip((widths[0], *widths), widths, strict=False)):
            work = operations.residual(here, narrow, wide) + shape.decoder_layers * operations.residual(here, wide, wide)
            last = level == len(widths) - 1
            if not last:
                work += operations.convolution(2 * here, 3, wide, wide)
            name = f"level at {here} px, {wide} channels" + ("" if last else f", and up to {2 * here} px")
            yield name, lambda model, x, level=level: model.decoder.up_blocks[level](x), features(here, narrow), work
            here *= 1 if last else 2
        yield (
            f"last normalisation and convolution, {here} px",
            lambda model, x: model.decoder.to_pixels(model.decoder.conv_norm_out(x)),
            features(here, widths[-1]),
            operations.last_layer(shape, case.size),
        )

    for name, method, given, work in parts():
        apply = functools.partial(lambda method, params, given: model.apply({"params": params}, given, method=method), method)
        yield Part(name, apply, (params, given), case.batch * work / 1e9)
        yield Part(f"{name}: and back", functools.partial(and_back, apply), (params, given), case.batch * 3 * work / 1e9)


@at_most("small")  # as updates do
def and_back(function: Callable[..., Any], params: Any, given: jax.Array) -> Any:
    """Gradients of a weighted sum of the results, at both arguments; weights that are not ones, which compilers would fold away."""
    results, pull = jax.vjp(function, params, given)
    return pull(jax.tree.map(lambda result: jnp.sin(result), results))


def other_parts(case: Case, model: AsymmetricAutoencoderKL, params: Params) -> Iterator[Part]:
    """What training adds to the decoder."""
    shape = shape_of(case.model)
    image = pictures(case.size, case.batch)
    other = np.roll(image, 5, axis=1)
    encode = lambda params, image: model.apply({"params": params}, image, method="encode").mean  # noqa: E731
    yield Part("frozen encoder", encode, (params, image), case.batch * operations.encoder(shape, case.size) / 1e9)

    write_losses(case.folder, case.model)
    vgg, weights = (unflatten_dict(read_arrays(case.folder, name, case.model), sep="/") for name in ("vgg", "critic"))
    heads = tuple(read_arrays(case.folder, "heads", case.model).values())

    def perceptual(vgg: Any, heads: Any, image: jax.Array, reconstruction: jax.Array) -> Any:
        distance = lambda reconstruction: jnp.mean(  # noqa: E731
            lpips(vgg, heads, image, reconstruction, precision=jax.lax.Precision.DEFAULT)
        )
        return jax.value_and_grad(distance)(reconstruction)

    work = 3 * operations.vgg(case.size)
    yield Part("perceptual loss: and back", perceptual, (vgg, heads, image, other), case.batch * work / 1e9)

    critic = critic_of(case.model).copy(dtype=case.dtype)
    counts = operations.critic_layers(case.size, critic.channels, critic.layers)
    work = 3 * sum(counts) + 2 * (2 * sum(counts) - counts[0])
    judged = functools.partial(criticise, OnlyACritic(critic))
    yield Part("critic: both losses, and back", judged, (weights, image, other), case.batch * work / 1e9)


class OnlyACritic(Parts):
    """All that `criticise` asks of the parts of an update."""

    def __init__(self, critic: Critic) -> None:
        self._critic = critic

    def criticise(self, critic: Params, image: jax.Array) -> jax.Array:
        return self._critic.apply({"params": critic}, image)


def copy_rate() -> float:
    """Bytes per second, read and written, of one large copy."""
    source = jnp.ones(COPIED[jax.default_backend()] // 4, jnp.float32)
    copy = jax.jit(lambda array: array + 1)
    copy(source).block_until_ready()
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        copy(source).block_until_ready()
        seconds.append(time.perf_counter() - begin)
    return 2 * source.nbytes / min(seconds)


class Compiled:
    """One part on the device, ready to be timed."""

    def __init__(self, part: Part) -> None:
        self.arguments = jax.device_put(part.arguments)
        self.call = jax.jit(part.function).lower(*self.arguments).compile()
        results = jax.block_until_ready(self.call(*self.arguments))
        self.bytes = sum(array.nbytes for array in jax.tree.leaves((self.arguments, results)))

    def sample(self, repeats: int) -> Sample:
        begin, busy = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            results = self.call(*self.arguments)
        jax.block_until_ready(results)
        return Sample((time.perf_counter() - begin) / repeats, (time.process_time() - busy) / repeats)


def profile(case: Case, rounds: int) -> dict[str, Any]:
    """Rows by part, and the rates that their floors follow from."""
    model = MODELS[case.model].copy(dtype=case.dtype)
    params = drawn(abstract_params(model))
    parts = [*decoder_parts(case, model, params), *other_parts(case, model, params)]
    compiled = {part.name: Compiled(part) for part in parts}
    product, copy = matrix_rate(case), copy_rate()
    timings = in_turn({name: one.sample for name, one in compiled.items()}, rounds, wait=jax.default_backend() == "cpu")
    rows = {}
    for part in parts:
        times = summary(timings.samples[part.name])
        floor = max(part.gflop * 1e9 / product, compiled[part.name].bytes / copy)
        rows[part.name] = times | {"gflop": part.gflop, "bytes": compiled[part.name].bytes, "floor": floor}
    return {
        "machine": description(jax.devices()[0].device_kind),
        "versions": versions(),
        "largest_product_flops": product,
        "largest_copy_bytes_per_second": copy,
        "samples_on_a_busy_machine": timings.noisy,
        "parts": rows,
    }


def table(found: dict[str, Any]) -> str:
    """For the eye."""
    width = max(map(len, found["parts"]))
    lines = [f"{'':{width}}  {'median':>9}  {'GFLOP':>7}  {'GFLOP/s':>8}  {'floor':>9}  floor / median"]
    for name, row in found["parts"].items():
        rate = row["gflop"] / row["median"]
        lines.append(
            f"{name:{width}}  {row['median'] * 1e3:6.1f} ms  {row['gflop']:7.1f}  {rate:8.0f}  {row['floor'] * 1e3:6.1f} ms"
            f"  {row['floor'] / row['median']:.2f}"
        )
    rates = f"{found['largest_product_flops'] / 1e9:.0f} GFLOP/s, {found['largest_copy_bytes_per_second'] / 1e9:.1f} GB/s"
    return "\n".join([*lines, f"largest product and largest copy: {rates}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="base")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels (default 256)")
    parser.add_argument("--batch", type=int, default=1, help="pictures at once (default 1)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each part (default 5)")
    parser.add_argument("--output", metavar="NAME", help="results/profile-NAME.json (default: the kind of device); - writes none")
    settings = parser.parse_args()
    with TemporaryDirectory() as folder:
        case = Case("profile", settings.model, settings.size, settings.batch, settings.dtype, Path(folder))
        found = profile(case, settings.rounds)
    print(table(found))
    if settings.output != "-":
        name = settings.output or slug(found["machine"]["device"])
        write_case(RESULTS / f"profile-{name}.json", "profile", case.key, found)


if __name__ == "__main__":
    main()
