"""Operations by pencil against PyTorch's own counter, and against the numbers that were published with the models."""

import pytest

from benchmarks.measuring.operations import (
    Shape,
    condition_encoder,
    critic_layers,
    decoder,
    decoder_gradients,
    encoder,
    step,
    vgg,
)

BASE = Shape()
LARGE = Shape(decoder=(192, 384, 768, 768), decoder_layers=3)
LARGE2X = Shape(decoder=(256, 512, 1024, 1024), decoder_layers=5)


@pytest.mark.parametrize(
    ("shape", "size", "forward", "condition", "backward"),
    [
        (BASE, 256, 773.0, 150.8, 1545.4),
        (LARGE, 256, 2019.5, 338.9, 4038.3),
        (LARGE2X, 256, 4593.2, 602.2, 9185.4),
        (BASE, 512, 3117.6, 603.1, 6233),
        (LARGE, 512, 8116.7, 1355.6, 16230),
    ],
)
def test_gigaflop_of_published_decoders(shape, size, forward, condition, backward):
    """Counted by PyTorch's FlopCounterMode on diffusers' modules of full size."""
    assert decoder(shape, size) / 1e9 == pytest.approx(forward, rel=1e-4)
    assert condition_encoder(shape, size) / 1e9 == pytest.approx(condition, rel=1e-3)
    assert decoder_gradients(shape, size) / 1e9 == pytest.approx(backward, rel=1e-4)


def test_gigaflop_of_the_others():
    assert encoder(BASE, 256) / 1e9 == pytest.approx(272.7, rel=1e-3)
    assert vgg(256) / 1e9 == pytest.approx(40.09, rel=1e-3)
    assert sum(critic_layers(256)) / 1e9 == pytest.approx(6.29, rel=1e-3)
    counts = step(BASE, 256)
    assert counts.fused / 1e9 == pytest.approx(2755, rel=1e-3)
    assert counts.reference / 1e9 == pytest.approx(3934, rel=1e-3)
    assert counts.asleep < counts.fused


def test_pytorch_counts_the_same():
    torch = pytest.importorskip("torch")
    vae = pytest.importorskip("diffusers.models.autoencoders.vae")
    from torch.utils.flop_counter import FlopCounterMode

    shape = Shape((16, 16, 32, 32), 1, (16, 32, 64, 64), 2)
    with torch.device("meta"):
        down = vae.Encoder(3, 4, ("DownEncoderBlock2D",) * 4, shape.encoder, 1, 8)
        up = vae.MaskConditionDecoder(4, 3, ("UpDecoderBlock2D",) * 4, shape.decoder, 2, 8)
        image, mask, latents = torch.empty(1, 3, 64, 64), torch.empty(1, 1, 64, 64), torch.empty(1, 4, 8, 8)

    def counted(run):
        with FlopCounterMode(display=False) as counter:
            result = run()
        return counter.get_total_flops(), result

    assert counted(lambda: down(image))[0] == encoder(shape, 64)
    forward, result = counted(lambda: up(latents, image, mask))
    assert forward == decoder(shape, 64)
    assert counted(lambda: result.backward(torch.empty_like(result)))[0] == decoder_gradients(shape, 64)
    assert counted(lambda: up(latents))[0] == decoder(shape, 64, mask=False)
