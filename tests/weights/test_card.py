import jax
import pytest
from huggingface_hub import ModelCard

from asym_jax.models.autoencoder import AsymmetricAutoencoderKL, AutoencoderKL
from asym_jax.models.vq import AsymmetricVQModel
from asym_jax.weights import save_pretrained
from asym_jax.weights.card import SIGNATURE, Card, card_text, is_ours, write_card
from asym_jax.weights.card_reader import read_card
from tests.weights.trees import drawn

PARAMS = {
    "encoder": {"kernel": jax.ShapeDtypeStruct((3, 3, 3, 100), "float32")},
    "decoder": {"bias": jax.ShapeDtypeStruct((7,), "float32")},
}
FULL = Card(
    base="o/n/vae",
    init="runs/first | decoder",
    data="pictures\nof cats",
    steps=100_000,
    batch_size=16,
    image_size=256,
    metrics={"lpips": 0.123456789, "fid": 12.0},
    measured_on="1,000 pictures of val",
    converted_from="larger1.5.ckpt",
)


def rows(text):
    """The cells of all tables; `\\|` is no border."""
    lines = [line.replace("\\|", "\0").strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    assert all(len(cells) == 2 for cells in lines)
    return {left.strip(): right.strip().replace("\0", "|") for left, right in lines}


def test_a_full_card(tmp_path):
    write_card(tmp_path / "README.md", AsymmetricAutoencoderKL(), FULL, params=PARAMS)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.to_dict()["library_name"] == "diffusers" and {"inpainting", "image-to-image"} <= set(card.data.tags)
    assert rows(card.text) == {
        "part": "parameters",
        "encoder": "2,700",
        "decoder": "7",
        "setting": "value",
        "converted from": "larger1.5.ckpt",
        "frozen autoencoder": "o/n/vae",
        "decoder started from": "runs/first | decoder",
        "pictures": "pictures of cats",
        "steps": "100,000",
        "pictures per step": "16",
        "crop side in pixels": "256",
        "metric": "value",
        "lpips": "0.123457",
        "fid": "12",
    }
    assert card.text.lstrip().startswith("# AsymmetricAutoencoderKL\n") and "On 1,000 pictures of val." in card.text
    assert "image=images, mask=mask" in card.text


def test_what_is_not_known_is_not_said(tmp_path):
    write_card(tmp_path / "README.md", AutoencoderKL(), Card(), params=PARAMS)
    card = ModelCard.load(tmp_path / "README.md")
    assert "inpainting" not in card.data.tags and "None" not in card.text and "mask=" not in card.text
    assert rows(card.text) == {"part": "parameters", "encoder": "2,700", "decoder": "7"}
    assert [line for line in card.text.splitlines() if line.startswith("## ")] == ["## Use"]
    write_card(tmp_path / "README.md", AsymmetricVQModel(), Card(steps=0), params=PARAMS)
    assert rows((tmp_path / "README.md").read_text())["steps"] == "0"


SMALL = AsymmetricAutoencoderKL((4, 8), 1, (4, 12), 1, norm_num_groups=2)


@pytest.mark.parametrize("layout", ["diffusers", "flax"])
def test_a_card_that_somebody_edited_is_kept(tmp_path, layout):
    path = tmp_path / "README.md"
    save_pretrained(tmp_path, SMALL, drawn(SMALL), layout=layout, card=Card(steps=5))
    assert rows(path.read_text())["steps"] == "5" and is_ours(path)
    save_pretrained(tmp_path, SMALL, drawn(SMALL), layout=layout, card=Card(steps=6))
    assert rows(path.read_text())["steps"] == "6"
    edited = path.read_bytes().replace(SIGNATURE.encode(), b"Mine.\xff\r\n")
    path.write_bytes(edited)
    save_pretrained(tmp_path, SMALL, drawn(SMALL), layout=layout, card=Card(steps=7))
    assert path.read_bytes() == edited and not is_ours(path)
    path.write_bytes(b"")
    save_pretrained(tmp_path, SMALL, drawn(SMALL), layout=layout)
    assert path.read_bytes() == b""


def test_the_plain_decoder_stands_beside_ours(tmp_path):
    metrics = {"plain_psnr": 20.5, "psnr": 31.25, "plain_l1": 0.125, "l1": 0.0625}
    write_card(tmp_path / "README.md", AsymmetricAutoencoderKL(), Card(metrics=metrics), params=PARAMS)
    lines = (tmp_path / "README.md").read_text().splitlines()
    assert {
        "| metric | this decoder | plain decoder |",
        "|---|---|---|",
        "| psnr | 31.25 | 20.5 |",
        "| l1 | 0.0625 | 0.125 |",
    } <= set(lines)


@pytest.mark.parametrize(
    "card",
    [
        Card(),
        FULL._replace(data="pictures of cats", metrics={"lpips": 0.123457, "fid": 12.0}),  # as they are written
        Card(base="a\\|b|", steps=0, image_size=2048),
        Card(metrics={"psnr": 31.25, "plain_psnr": 20.5, "only_ours": 1e-9}),
        Card(steps=5, metrics={"l1": 0.5}, measured_on="8 pictures. At 64 pixels"),
    ],
)
def test_what_a_card_says_is_read_again(card):
    text = card_text(AsymmetricAutoencoderKL(), card, params=PARAMS)
    assert read_card(text) == card
    assert read_card(text.replace("\n", "\r\n")) == card
    assert read_card(text.replace(SIGNATURE, "")) == Card()


def test_what_cannot_be_understood_of_a_card_is_left_out():
    text = card_text(AsymmetricAutoencoderKL(), FULL, params=PARAMS)
    for old, new in (("100,000", "many"), ("| 256 |", "| nan |"), ("| 12 |", "| low |"), ("| 16 |", "|")):
        assert old in text
        text = text.replace(old, new)
    found = read_card(text)
    assert (found.steps, found.image_size, found.batch_size, found.metrics) == (None, None, None, {"lpips": 0.123457})
    assert found.base == "o/n/vae" and found.measured_on == "1,000 pictures of val"
    assert read_card(SIGNATURE) == read_card("") == Card()
