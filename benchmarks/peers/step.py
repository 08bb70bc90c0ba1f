"""One update of decoder and critic: ours, through the program that trains."""

import functools
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from asym_jax.arrays import Params
from asym_jax.commands import load_preset
from asym_jax.config import TrainConfig
from asym_jax.models.autoencoder import AutoencoderKL
from asym_jax.training.log import Log
from asym_jax.training.networks import Networks
from asym_jax.training.program import Program
from asym_jax.training.sharding import batch_sharding, replicated
from asym_jax.training.state import TrainState
from asym_jax.training.step import Batch, find_gradients
from asym_jax.weights import load_pretrained
from asym_jax.weights.names import to_torch
from benchmarks.abstract_run import networks_of, with_settings
from benchmarks.peers.contest import Case
from benchmarks.peers.material import MODELS, critic_of, latents, masks, pixels, read_arrays
from benchmarks.peers.ours import device, facts, for_each, matrix_rate, memory, mesh_of

PRESETS = Path(__file__).parents[2] / "configs"

ADAPTIVE_MAXIMUM = 1e9
"""Never reached, so that the adaptive weights of random networks can be compared; time does not depend on it."""

COMPARED = (
    "conv_in.weight",
    "mid_block.resnets.0.conv1.weight",
    "mid_block.attentions.0.to_v.weight",
    "up_blocks.0.upsamplers.0.conv.weight",
    "up_blocks.3.resnets.0.norm1.weight",
    "condition_encoder.layers.0.weight",
    "condition_encoder.layers.3.weight",
    "conv_out.weight",
    "conv_out.bias",
)
"""Parameters of the decoder, by PyTorch's names, whose gradients must agree."""

COMPARED_OF_CRITIC = ("conv_in/kernel", "norms_0/scale", "conv_out/kernel")


def configured(case: Case) -> TrainConfig:
    """The preset at that size, its critic awake and felt from the first step on; one device's batch shares statistics."""
    model = {"dtype": case.dtype}
    if case.model == "tiny":
        sizes, critic = MODELS["tiny"], critic_of("tiny")
        model |= {"channels": sizes.up_block_out_channels, "layers_per_block": 1, "norm_groups": sizes.norm_num_groups}
    else:
        critic = critic_of(case.model)
    return with_settings(
        load_preset("base" if case.model == "tiny" else case.model, PRESETS),
        model=model,
        data={"batch_size": case.batch * case.devices, "image_size": case.size},
        critic={"channels": critic.channels, "layers": critic.layers, "norm_images": case.batch},
        loss={"critic_start": 0, "adversarial_start": 0, "adaptive_max": ADAPTIVE_MAXIMUM},
    )


class OurStep:
    """The compiled update, with or without the critic."""

    def __init__(self, case: Case, *, awake: bool) -> None:
        # Before anything is compiled: JAX looks for its cache once.
        jax.config.update("jax_compilation_cache_dir", str(case.folder / "compiled"))
        self.case, self.awake, self.mesh = case, awake, mesh_of(case)
        sizes = MODELS[case.model]
        vae = AutoencoderKL(
            sizes.down_block_out_channels, sizes.layers_per_down_block, norm_num_groups=sizes.norm_num_groups, dtype=case.dtype
        )
        self.config = configured(case)
        self.networks = networks_of(self.config, vae)
        everywhere = replicated(self.mesh)
        self.frozen, decoder, critic = (jax.device_put(tree, everywhere) for tree in weights(case))
        begin = jax.jit(functools.partial(start, self.config, self.networks), out_shardings=everywhere)
        self.state = begin(decoder, critic)
        self.pixels = jax.device_put(for_each(case, pixels(case.size, case.batch)), batch_sharding(self.mesh))

    def prepare(self) -> dict[str, Any]:
        """Finds the gradients that `result` gives, then compiles the update, from nothing and from JAX's cache, and runs it."""
        self.found = self._find() if self.awake else {}
        seconds = []
        for _ in range(2):
            jax.clear_caches()
            begin = time.perf_counter()
            program = Program(self.config, self.networks, self.mesh, Log.__new__(Log))
            self.update = program.lower(self.frozen, self.state, critic_awake=self.awake).compile()
            seconds.append(time.perf_counter() - begin)
        self.run(1)
        return facts(self.update, seconds[0]) | {"compile_seconds_from_cache": seconds[1]}

    def run(self, repeats: int) -> None:
        for _ in range(repeats):
            self.state, self.metrics = self.update(self.frozen, self.state, self.pixels)
        jax.block_until_ready((self.state, self.metrics))

    def result(self) -> dict[str, np.ndarray]:
        """Losses, adaptive weight and some gradients at the first weights, by the names that PyTorch's side uses."""
        return self.found

    def device(self) -> dict[str, Any]:
        return device()

    def memory(self) -> dict[str, int]:
        return memory()

    def peak(self) -> float:
        return matrix_rate(self.case)

    def _find(self) -> dict[str, np.ndarray]:
        size, count = self.case.size, self.case.batch
        image = for_each(self.case, pixels(size, count).astype(np.float32) / 127.5 - 1)
        given = Batch(image, *(for_each(self.case, array) for array in (masks(size, count), latents(size, count))))
        batch = jax.device_put(given, batch_sharding(self.mesh))
        find = jax.jit(functools.partial(find_gradients, self.networks, self.config.loss, critic_awake=True))
        return named(*jax.device_get(find(self.frozen, self.state, batch)), image=image)


def named(gradients: Params, critic_gradients: Params, metrics: dict[str, Any], *, image: np.ndarray) -> dict[str, np.ndarray]:
    """What is compared, by the names that PyTorch's side uses."""
    mean = metrics["loss/pixel"] + metrics["loss/perceptual"]
    critic = flatten_dict(critic_gradients, sep="/")
    decoder = to_torch(gradients)
    return {
        "reconstruction loss": np.asarray(mean * image[0].size),
        "adaptive weight": np.asarray(metrics["adaptive_weight"]),
        "critic's loss": np.asarray(metrics["loss/critic"]),
        **{f"decoder {name}": np.ascontiguousarray(decoder[name]) for name in COMPARED},
        **{f"critic {name}": np.asarray(critic[name]) for name in COMPARED_OF_CRITIC},
    }


def weights(case: Case) -> tuple[Params, Params, Params]:
    """The frozen networks, the decoder and the critic."""
    _, params = load_pretrained(case.folder / case.model)
    trees = {name: read_arrays(case.folder, name, case.model) for name in ("critic", "vgg", "heads")}
    decoder = params.pop("decoder")
    lpips = {"vgg": unflatten_dict(trees["vgg"], sep="/"), "heads": tuple(trees["heads"].values())}
    return {"vae": params, "lpips": lpips}, decoder, unflatten_dict(trees["critic"], sep="/")


def start(config: TrainConfig, networks: Networks, decoder: Params, critic: Params) -> TrainState:
    """The state before the first update, with these weights, in buffers of its own."""
    decoder, critic = (jax.tree.map(jnp.copy, tree) for tree in (decoder, critic))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        decoder=decoder,
        average=jax.tree.map(jnp.copy, decoder) if config.optim.ema_decay else {},
        critic=critic,
        decoder_opt=networks.decoder_tx.init(decoder),
        critic_opt=networks.critic_tx.init(critic),
    )


def ours(case: Case, awake: bool) -> OurStep:
    return OurStep(case, awake=awake)
