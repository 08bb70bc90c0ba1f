"""The networks behind the scores: ours, from pictures as files store them to what the score is made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from asym_jax.arrays import Params, Pixels
from asym_jax.metrics.inception_inputs import inception_inputs
from asym_jax.metrics.lpips import picture_lpips
from asym_jax.models.alexnet import AlexNet
from asym_jax.models.clip_vision import ClipVision
from asym_jax.models.inception import Inception
from asym_jax.models.vgg import VGG16
from asym_jax.weights.networks import ALEX_WIDTHS, HEAD_WIDTHS
from benchmarks.peers.contest import Case
from benchmarks.peers.material import drawn, pictures, pixels
from benchmarks.peers.ours import JaxPeer

TRUNKS = {"lpips-vgg": (VGG16(), HEAD_WIDTHS), "lpips-alex": (AlexNet(), ALEX_WIDTHS)}
CLIP = ClipVision()


class Network(NamedTuple):
    """One of them."""

    size: int  # of the pictures that it is given
    blank: tuple[int, ...]  # shape of what initialises it
    module: Any
    relu: bool


NETWORKS = {
    "inception": Network(256, (1, 299, 299, 3), Inception(), True),
    "lpips-vgg": Network(256, (1, 64, 64, 3), VGG16(), True),
    "lpips-alex": Network(256, (1, 64, 64, 3), AlexNet(), True),
    "clip": Network(224, (1, 224, 224, 3), CLIP, False),
}


def write_network(folder: Path, name: str) -> None:
    """Random weights, and heads for LPIPS, as arrays named `conv0/kernel` in our layout."""
    network = NETWORKS[name]
    shapes = jax.eval_shape(network.module.init, jax.random.key(0), jax.ShapeDtypeStruct(network.blank, np.float32))
    np.savez(folder / f"{name}.npz", **flatten_dict(drawn(shapes["params"], relu=network.relu), sep="/"))


def read_network(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


def heads(name: str) -> list[np.ndarray]:
    """Of LPIPS; none negative."""
    random = np.random.default_rng(1)
    return [random.uniform(0, 0.1, width).astype(np.float32) for width in TRUNKS[name][1]]


def inputs(case: Case) -> tuple[np.ndarray, ...]:
    """Pictures in whole numbers; two of each for LPIPS, and normal ones for CLIP, whose own inputs are the business of others."""
    if case.model == "clip":
        return (pictures(case.size, case.batch),)
    first = pixels(case.size, case.batch)
    return (first,) if case.model == "inception" else (first, np.roll(first, 5, axis=1))


def function(name: str) -> Callable[..., dict[str, jax.Array]]:
    """Of the weights and the inputs."""

    def inception(params: Params, images: Pixels) -> dict[str, jax.Array]:
        taps = Inception().apply({"params": params}, inception_inputs(images, "tf"))
        return {"pool3": taps.pool3, "logits": taps.logits}

    def clip(params: Params, images: jax.Array) -> dict[str, jax.Array]:
        return {"projected": CLIP.apply({"params": params}, images).projected}

    def lpips(params: Params, a: Pixels, b: Pixels) -> dict[str, jax.Array]:
        weights = tuple(jnp.asarray(head) for head in heads(name))
        return {"distance": picture_lpips(name.removeprefix("lpips-"), params, weights, a, b)}

    return {"inception": inception, "clip": clip}.get(name, lpips)


def ours(case: Case) -> JaxPeer:
    params = unflatten_dict(read_network(case.folder, case.model), sep="/")
    return JaxPeer(case, function(case.model), params, inputs(case))


def operations(folder: Path, name: str) -> float:
    """Of one picture (or pair), as our program asks for them: the products in it are plain ones."""
    params = unflatten_dict(read_network(folder, name), sep="/")
    case = Case("evaluate", name, NETWORKS[name].size, 1, "float32", folder)
    return products(jax.make_jaxpr(function(name))(params, *inputs(case)).jaxpr)


def products(jaxpr: Any) -> float:
    """Operations of all convolutions and matrix products in a program, those of the programs inside it too."""
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            per_value = np.prod(kernel) / kernel[equation.params["dimension_numbers"].rhs_spec[0]]
            total += 2.0 * np.prod(equation.outvars[0].aval.shape) * per_value
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2.0 * np.prod(equation.outvars[0].aval.shape) * np.prod([left[axis] for axis in contracted])
        for inner in jax.core.jaxprs_in_params(equation.params):
            total += products(inner)
    return float(total)
