import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.models.blend import ConcatenationBlend, blend_by_addition, shrink_mask

pytestmark = pytest.mark.usefixtures("strict_dtypes")


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_masks_shrink_as_in_torch(factor):
    torch = pytest.importorskip("torch")
    mask = np.random.default_rng(0).random((2, 16, 24, 1), np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(mask.transpose(0, 3, 1, 2)), scale_factor=1 / factor, mode="nearest"
    )
    got = shrink_mask(jnp.asarray(mask), height=16 // factor, width=24 // factor)
    np.testing.assert_array_equal(got, expected.numpy().transpose(0, 2, 3, 1))


def test_addition_by_pencil():
    latent_path, condition = jnp.full((1, 1, 3, 2), 8.0), jnp.full((1, 1, 3, 2), 4.0)
    mask = jnp.array([0.0, 0.25, 1.0]).reshape(1, 1, 3, 1)
    np.testing.assert_array_equal(blend_by_addition(latent_path, condition, mask)[0, 0, :, 0], [4, 5, 8])


def test_concatenation_by_pencil():
    blend = ConcatenationBlend(channels=2)
    latent_path = jnp.array([1.0, 2.0]).reshape(1, 1, 1, 2)
    condition = jnp.array([3.0, 4.0]).reshape(1, 1, 1, 2)
    # 0.5 * (1, 2) beside 0.5 * (3, 4), through rows of the kernel that read each of the four once
    kernel = jnp.array([[1.0, 0], [10, 0], [100, 0], [1000, 1]]).reshape(1, 1, 4, 2)
    params = {"conv": {"kernel": kernel, "bias": jnp.array([0.25, -1.0])}}
    shapes = jax.eval_shape(blend.init, jax.random.key(0), latent_path, condition, latent_path[..., :1])["params"]
    assert shapes["conv"]["kernel"].shape == kernel.shape
    blended = blend.apply({"params": params}, latent_path, condition, jnp.full((1, 1, 1, 1), 0.5))
    np.testing.assert_allclose(blended.ravel(), [0.5 + 10 + 150 + 2000 + 0.25, 2 - 1], rtol=1e-6)
    asymmetric = blend.apply({"params": params}, latent_path, condition, jnp.full((1, 1, 1, 1), 0.25))
    np.testing.assert_allclose(asymmetric.ravel(), [0.25 + 5 + 225 + 3000 + 0.25, 3 - 1], rtol=1e-6)
