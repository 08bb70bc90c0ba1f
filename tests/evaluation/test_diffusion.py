"""The three tasks with a diffusion model, from the command line, against the pipelines called by hand."""

import importlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from asym_jax.errors import InputError  # noqa: E402
from asym_jax.pipelines import (  # noqa: E402
    FlaxAsymmetricInpaintPipeline,
    FlaxAsymmetricTextToImagePipeline,
    FlaxPaintByExamplePipeline,
)
from asym_jax.pipelines.schedule import Sampling  # noqa: E402
from asym_jax.weights import load_pretrained, save_pretrained  # noqa: E402
from tests.evaluation.tiny import noise, write  # noqa: E402
from tests.pipelines import tiny  # noqa: E402

program = importlib.import_module("eval")  # its name is also a builtin's

SIZE = 64
PICTURES = 3
FAST = ["--image-size", str(SIZE), "--rows-per-device", "2", "--seed", "7", "--out", "out"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASYM_JAX_WEIGHTS", str(tmp_path / "no_weights"))
    return tmp_path


def run(*arguments: str) -> dict:
    program.main([*arguments, *FAST])
    return json.loads(Path("out/results.json").read_text())


def column(name: str) -> dict[str, np.ndarray]:
    folder = Path("out/pictures") / name
    return {
        str(path.relative_to(folder).with_suffix("")): np.asarray(Image.open(path)).astype(int) for path in folder.rglob("*.png")
    }


def levels(images: np.ndarray) -> np.ndarray:
    return np.rint((np.clip(images, -1, 1) + 1) * 127.5)


def test_inpainting(here):
    """Same noise whatever the batch: the pipeline is called here with all pictures at once, and there with two per device."""
    folder = tiny.save(here / "sd", in_channels=9)
    pixels = noise(PICTURES, SIZE, SIZE)
    write(here / "images", {f"{i}.png": picture for i, picture in enumerate(pixels)})
    arguments = ["--task", "inpaint", "--weights", "sd/asymmetric", "--pipeline", "sd", "--images", "images", "--masks", "thin_256"]
    document = run(*arguments, "--steps", "2", "--prompt", "a b c", "--guidance", "3", "--eta", "0.5")
    assert [row["decoder"] for row in document["rows"]] == ["vanilla", "copy-and-paste", "asymmetric"]
    latents = document["settings"]["latents"]
    assert "eta=0.5" in latents["from"] and "'a b c'" in latents["from"] and len(latents["sha256"]) == 64
    masks = np.stack([column("mask")[str(i)] for i in range(PICTURES)])
    assert 0 < masks.mean() < 255

    pipeline, params = FlaxAsymmetricInpaintPipeline.from_pretrained(folder, here / "sd" / "asymmetric")
    inputs = pipeline.prepare(["a b c"] * PICTURES, list(pixels), list(masks.astype(np.uint8)))
    latents = pipeline.latents(params, inputs, seed=7, sampling=Sampling("ddim", 2, eta=0.5, guidance=3.0))
    ours = pipeline.decode(params, latents, image=inputs.image, mask=inputs.mask)
    vae, vae_params = load_pretrained(here / "sd" / "vae")
    plain = jax.jit(lambda z: vae.apply({"params": vae_params}, z, method="decode"))(latents)
    for row, made in (("vanilla", plain), ("asymmetric", ours)):
        for i in range(PICTURES):
            assert np.abs(column(row)[str(i)] - levels(made[i])).max() <= 1, row
    kept = masks == 0
    pasted = np.stack([column("copy-and-paste")[str(i)] for i in range(PICTURES)])
    np.testing.assert_array_equal(pasted[kept], pixels[kept])


def test_the_paper_s_settings_are_the_defaults(here, monkeypatch):
    from asym_jax.evaluation import diffusion
    from asym_jax.evaluation.command import parse_eval

    for kind in (diffusion.Diffusion, diffusion.InpaintLatents):
        monkeypatch.setattr(kind, "__init__", lambda self, command, sampling, size: setattr(self, "sampling", sampling))
    found = {}
    for task in ("inpaint", "paint-by-example", "text-to-image"):
        command = parse_eval(["--task", task, "--weights", "w", "--pipeline", "p", "--images", "i"], "")
        found[task] = tuple(diffusion.open_diffusion(command, size=512).sampling)
    assert found == {
        "inpaint": ("ddim", 50, 1.0, 7.5),
        "paint-by-example": ("plms", 50, 0.0, 5.0),
        "text-to-image": ("plms", 50, 0.0, 7.5),
    }


@pytest.mark.slow
def test_paint_by_example(here):
    folder = tiny.save(here / "pbe", in_channels=9, kind="pndm", example=True)
    pixels, references = noise(PICTURES, SIZE, SIZE), noise(PICTURES, 40, 24, seed=1)
    boxes = np.zeros((PICTURES, SIZE, SIZE), np.uint8)
    boxes[:, 10:40, 20:50] = 255
    for part, suffix, files in (("GT_3500", "GT", pixels), ("Mask_bbox_3500", "mask", boxes), ("Ref_3500", "ref", references)):
        write(here / "coco" / part, {f"{i:012}_{suffix}.png": file for i, file in enumerate(files)})
    arguments = ["--table", "5", "--weights", "pbe/asymmetric", "--pipeline", "pbe", "--images", "cocoee:coco"]
    document = run(*arguments, "--steps", "4")
    names = ["vanilla", "copy-and-paste", "asymmetric", "asymmetric without condition"]
    assert [row["decoder"] for row in document["rows"]] == names
    assert document["table"]["set"] == "cocoee" and (here / "out" / "table_5.md").read_text().startswith("# Table 5")
    assert [row["clip_score"] for row in document["rows"]] == [None] * 4

    pipeline, params = FlaxPaintByExamplePipeline.from_pretrained(folder, here / "pbe" / "asymmetric")
    inputs = pipeline.prepare([Image.fromarray(one) for one in references], list(pixels), list(boxes))
    sampling = Sampling("plms", 4, guidance=5.0)
    latents = pipeline.latents(params, inputs, seed=7, sampling=sampling, mask_edges="soft")
    made = pipeline.decode(params, latents, image=inputs.image, mask=inputs.mask)
    blind = pipeline.decode(params, latents)
    for row, expected in (("asymmetric", made), ("asymmetric without condition", blind)):
        for i in range(PICTURES):
            assert np.abs(column(row)[f"{i:012}"] - levels(expected[i])).max() <= 1, row


@pytest.mark.slow
def test_text_to_image(here):
    folder = tiny.save(here / "sd", in_channels=4, kind="pndm")
    write(here / "coco" / "val2014", {"COCO_val2014_000000000001.jpg": noise(1, 80, 70)[0]})
    captions = ["a b", "c d e"]
    entry = {"filepath": "val2014", "filename": "COCO_val2014_000000000001.jpg", "split": "test", "cocoid": 1}
    images = [
        entry | {"imgid": 0, "sentences": [{"raw": words, "sentid": i} for i, words in enumerate(captions)], "sentids": [0, 1]}
    ]
    (here / "coco" / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    arguments = ["--table", "4", "--weights", "sd/asymmetric", "--pipeline", "sd", "--images", "coco-captions:coco"]
    document = run(*arguments, "--steps", "4")
    assert [row["decoder"] for row in document["rows"]] == ["vanilla", "asymmetric"]  # nothing is to be kept
    assert set(document["rows"][0]) == {"decoder", "images", "fid", "inception_score", "inception_score_deviation"}
    assert document["settings"]["fid_mode"] == "tf" and document["published"][0]["fid"] == 19.88

    pipeline, params = FlaxAsymmetricTextToImagePipeline.from_pretrained(folder, here / "sd" / "asymmetric")
    sampling = Sampling("plms", 4, guidance=7.5)
    latents = pipeline.latents(params, pipeline.prepare(captions), height=SIZE, width=SIZE, seed=7, sampling=sampling)
    made = np.asarray(pipeline.decode(params, latents))
    found = column("asymmetric")
    assert len(found) == 2
    for picture, expected in zip((found[name] for name in sorted(found)), made, strict=True):
        assert np.abs(picture - levels(expected)).max() <= 1


def test_another_autoencoder_than_the_pipeline_s_is_refused(here):
    tiny.save(here / "sd", in_channels=9)
    vae, params = load_pretrained(here / "sd" / "vae")
    save_pretrained(here / "other", vae, jax.tree.map(lambda leaf: leaf + 1, params))
    model, params = load_pretrained(here / "sd" / "asymmetric")
    save_pretrained(here / "decoder", model, jax.tree.map(lambda leaf: leaf + 1, params))
    write(here / "images", {"0.png": noise(1, SIZE, SIZE)[0]})
    with pytest.raises(InputError, match="^--vae other is not the autoencoder of --pipeline sd: their encoders differ"):
        run("--task", "inpaint", "--weights", "decoder", "--vae", "other", "--pipeline", "sd", "--images", "images")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("paint-by-example", "0 has no reference picture: --task paint-by-example is for --images cocoee:DIR"),
        ("text-to-image", "0 has no caption: --task text-to-image is for --images coco-captions:DIR"),
        ("inpaint", "--pipeline sd: .*"),
    ],
)
def test_what_does_not_fit_the_task_is_said_before_anything_is_written(here, task, message):
    tiny.save(here / "sd", in_channels=9 if task == "paint-by-example" else 4, kind="pndm", example=task == "paint-by-example")
    write(here / "images", {"0.png": noise(1, SIZE, SIZE)[0]})
    with pytest.raises(InputError, match=message):
        run("--task", task, "--weights", "sd/asymmetric", "--pipeline", "sd", "--images", "images")
    assert not (here / "out").exists()
