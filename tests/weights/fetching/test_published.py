"""The table, read as data: what is in it must be able to work."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from asym_jax.errors import InputError
from asym_jax.weights.fetching.published import PUBLISHED, described, fetch_line, find

FILES = [file for entry in PUBLISHED for file in entry.files]


def test_the_names_that_users_type():
    names = [entry.name for entry in PUBLISHED]
    assert names[:6] == ["vgg16", "lpips-vgg", "alexnet", "lpips-alex", "inception", "clip-vit-b-32"]
    assert names[6:] == ["sd-vae", "sd-vae-ft-mse", "sdxl-vae", "asymmetric-x-1-5", "asymmetric-x-2"]
    assert all(entry.purpose and entry.licence for entry in PUBLISHED)


def test_no_two_files_land_in_one_place():
    assert len({file.name for file in FILES}) == len({file.url for file in FILES}) == len(FILES)
    assert "manifest.json" not in {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_every_file_is_described_consistently(file):
    address = urlsplit(file.url)
    assert (address.scheme, address.query) == ("https", "") and address.hostname
    assert file.url.endswith(file.name.rpartition("/")[2])
    assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert file.bytes is None or file.bytes > 0
    revision = re.search(r"/resolve/([^/]+)/", file.url)
    assert (revision is not None) == (address.hostname == "huggingface.co")
    assert revision is None or re.fullmatch("main|[0-9a-f]{40}", revision[1])
    # Publishers put the first eight digits of the hash into the name.
    digits = re.search(r"-([0-9a-f]{8})\.pth", file.name)
    assert digits is None or file.sha256.startswith(digits[1])


def test_an_autoencoder_is_a_folder_of_its_own():
    for entry in PUBLISHED:
        if len(entry.files) == 1:
            # A folder where the published name says nothing.
            assert entry.files[0].name.rpartition("/")[0] in ("", entry.name)
        else:
            config, weights = (file.name for file in entry.files)
            assert config == f"{entry.name}/config.json"
            assert weights in [f"{entry.name}/diffusion_pytorch_model.{kind}" for kind in ("bin", "safetensors")]


def test_a_misspelt_name_is_answered_with_the_right_one():
    assert find("inception").files[0].bytes == 95_628_359
    with pytest.raises(InputError, match="'VGG-16'; did you mean vgg16.*lpips-alex"):
        find("VGG-16")
    with pytest.raises(InputError, match="'qqq'; The names are vgg16"):
        find("qqq")


def test_what_is_not_known_is_said():
    config, _ = find("sdxl-vae").files
    assert described(config).endswith("/config.json (size not published, SHA-256 not published)")
    assert fetch_line([config, find("vgg16").files[0]]) == "python -m asym_jax.weights fetch vgg16 sdxl-vae"


def test_the_documentation_fetches_what_there_is():
    root = Path(__file__).parents[3]
    texts = [path.read_text(encoding="utf-8") for path in (root / "README.md", *(root / "docs").glob("*.md"))]
    names = {name for text in texts for line in re.findall(r"weights fetch((?: [a-z][a-z0-9-]*)+)", text) for name in line.split()}
    assert {"vgg16", "inception"} <= names
    assert {find(name).name for name in names} == names
