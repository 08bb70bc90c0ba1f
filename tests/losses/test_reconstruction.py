import jax.numpy as jnp
import numpy as np
import pytest

from asym_jax.losses.reconstruction import pixel_loss


@pytest.mark.parametrize(("kind", "expected"), [("l1", [1.0, 0.0]), ("l2", [2.0, 0.0])])
def test_mean_over_pixels_and_channels_of_each_picture(kind, expected):
    image = jnp.ones((2, 2, 2, 3))
    reconstruction = image.at[0, 0].add(2.0)  # half of the first picture is off by 2
    np.testing.assert_allclose(pixel_loss(kind, image, reconstruction), expected)
    np.testing.assert_allclose(pixel_loss(kind, reconstruction, image), expected)
