import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from asym_jax.models.critic import Critic


def test_size_of_the_published_critic():
    logits, variables = jax.eval_shape(Critic().init_with_output, jax.random.key(0), jnp.zeros((2, 256, 256, 3)))
    assert logits.shape == (2, 30, 30, 1)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == 2_765_633


def torch_critic(params):
    """taming-transformers' PatchGAN with the same weights, in training mode."""
    torch = pytest.importorskip("torch")

    def tensor(array):
        array = np.array(array)
        return torch.nn.Parameter(torch.from_numpy(array.transpose(3, 2, 0, 1).copy() if array.ndim == 4 else array))

    def conv(layer, stride):
        out, inside = layer["kernel"].shape[3], layer["kernel"].shape[2]
        module = torch.nn.Conv2d(inside, out, 4, stride, 1, bias="bias" in layer)
        module.weight = tensor(layer["kernel"])
        if "bias" in layer:
            module.bias = tensor(layer["bias"])
        return module

    layers = [conv(params["conv_in"], 2), torch.nn.LeakyReLU(0.2)]
    for i, stride in enumerate([2, 2, 1]):
        norm = torch.nn.BatchNorm2d(len(params[f"norms_{i}"]["scale"]))
        norm.weight, norm.bias = tensor(params[f"norms_{i}"]["scale"]), tensor(params[f"norms_{i}"]["bias"])
        layers += [conv(params[f"convs_{i}"], stride), norm, torch.nn.LeakyReLU(0.2)]
    return torch, torch.nn.Sequential(*layers, conv(params["conv_out"], 1)).train()


@pytest.mark.parametrize(("norm_images", "parts"), [(2, [slice(0, 2), slice(2, 4)]), (4, [slice(0, 4)]), (10, [slice(0, 4)])])
def test_agrees_with_torch_group_by_group(norm_images, parts):
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (4, 40, 32, 3)).astype(np.float32)
    images[2:] *= 0.1  # groups whose statistics differ
    critic = Critic(channels=8, norm_images=norm_images)
    shapes = jax.eval_shape(critic.init, jax.random.key(0), images)["params"]
    params = jax.tree.map(lambda leaf: jnp.asarray(0.2 * random.normal(size=leaf.shape), jnp.float32), shapes)
    got = jax.jit(critic.apply)({"params": params}, images)

    torch, model = torch_critic(params)
    with torch.no_grad():
        expected = torch.cat([model(torch.from_numpy(images[part].transpose(0, 3, 1, 2).copy())) for part in parts])
    np.testing.assert_allclose(got, expected.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm_images", [3, 6, 4, 12])
def test_a_group_may_lie_on_several_devices(norm_images):
    """Three pictures on each of four devices: groups are one device's, two devices', parts of two devices', or all."""
    random = np.random.default_rng(0)
    images = jnp.float32(random.uniform(-1, 1, (12, 8, 8, 3)) * np.linspace(0.1, 1, 12).reshape(-1, 1, 1, 1))
    upstream = jnp.float32(random.normal(size=(12, 2, 2, 1)))
    critic = Critic(channels=2, layers=1, norm_images=norm_images)
    params = critic.init(jax.random.key(0), images)["params"]

    def pulled(critic, params, images, upstream):
        logits, pull = jax.vjp(lambda *given: critic.apply({"params": given[0]}, given[1]), params, images)
        return logits, *pull(upstream)

    def on_one(params, images, upstream):
        logits, of_params, of_images = pulled(critic.copy(axes=("a", "b")), params, images, upstream)
        return logits, jax.lax.psum(of_params, ("a", "b")), of_images

    mesh, rows = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:4]), P(("a", "b"))
    shared = jax.shard_map(on_one, mesh=mesh, in_specs=(P(), rows, rows), out_specs=(rows, P(), rows), check_vma=False)
    got = jax.jit(shared)(params, images, upstream)
    expected = jax.jit(functools.partial(pulled, critic))(params, images, upstream)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), got, expected)


def test_initial_values_are_those_of_the_reference():
    """Kernels N(0, 0.02), norm scales N(1, 0.02) and biases 0; biases of convolutions as PyTorch draws them."""
    params = jax.jit(Critic(channels=32).init)(jax.random.key(0, impl="rbg"), jnp.zeros((1, 32, 32, 3)))["params"]
    for name, layer in params.items():
        if name.startswith("norms"):
            np.testing.assert_allclose([np.mean(layer["scale"]), np.std(layer["scale"])], [1, 0.02], atol=0.005)
            np.testing.assert_array_equal(layer["bias"], 0)
        else:
            np.testing.assert_allclose([np.mean(layer["kernel"]), np.std(layer["kernel"])], [0, 0.02], atol=0.001)
            assert ("bias" in layer) == (name in ("conv_in", "conv_out"))
    for name, fan_in in (("conv_in", 16 * 3), ("conv_out", 16 * 256)):
        bias = np.abs(params[name]["bias"])
        assert 0 < bias.max() <= fan_in**-0.5
    assert np.max(np.abs(params["conv_in"]["bias"])) > 0.8 * 48**-0.5


def test_a_batch_that_cannot_be_grouped_is_refused():
    with pytest.raises(ValueError, match="batch of 3 .* groups of 2"):
        jax.eval_shape(Critic(norm_images=2).init, jax.random.key(0), jnp.zeros((3, 32, 32, 3)))
