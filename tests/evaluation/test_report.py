"""What an evaluation leaves on disk: structure of the page, its numbers, its pictures, and that a real browser shows it."""

import html
import json
import math
import re
import shutil
import subprocess
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from asym_jax.errors import InputError
from asym_jax.evaluation.report import write_report
from asym_jax.evaluation.report_pictures import Box, alike, difference, worst_box, zoom
from asym_jax.evaluation.report_sheets import ReportPicture, choose
from asym_jax.evaluation.report_tables import SAYS
from asym_jax.evaluation.tables import COLUMNS
from tests.evaluation.page import Page
from tests.evaluation.tiny import noise, write

OURS = '<img src="x"> & co'
NAMES = ("vanilla", "copy-and-paste", OURS)
COUNT = 7


def row(decoder, **values):
    return {"decoder": decoder, "images": COUNT, "lpips": None, "psnr": 20.0, "ssim": 0.5, "pre_error_skipped": 1} | values


def results(**changes):
    """Ours keeps what it was given 20 times better."""
    rows = [
        row("vanilla", pre_error=1.0828e-2, psnr=24.987, ssim=0.71234),
        row("copy-and-paste", pre_error=0.0, psnr=26.0, ssim=0.9),
        row(OURS, pre_error=5.414e-4, psnr=math.inf, ssim=0.9),
    ]
    bins = {"0-10%": rows[:1], "40-50%": rows}
    settings = {"images": "/data", "decoders": [{"name": OURS, "sha256": "ab12"}], "environment": {"jax": "0.10.2"}}
    known = [{"decoder": "large 2x", "lpips": 0.134, "pre_error": 2.1e-5, "source": "README <x>"}]
    values = dict(
        task="inpaint", settings=settings, rows=rows, skipped={"lpips": "no <weights>"}, bins=bins, published=known, notes=[]
    )
    return values | changes


@pytest.fixture
def pictures(tmp_path):
    """Seven examples; our Pre_error is 3e-5 for number 0, 0 for number 1, ..., and not defined for number 4."""
    originals, masks = noise(COUNT, 32, 32), np.zeros((COUNT, 32, 32), np.uint8)
    masks[:, 4:12] = 255
    masks[4] = 255
    errors = [3e-5, 0.0, 6e-5, 1e-5, math.nan, 4e-5, 2e-5]
    found = []
    for i in range(COUNT):
        title = f"a #{i}%"
        versions = {"original": originals[i], "masked": originals[i], "mask": masks[i]}
        versions |= {decoder: np.clip(originals[i].astype(int) + 3 * k, 0, 255).astype(np.uint8) for k, decoder in enumerate(NAMES)}
        paths = {column: f"pictures/{number}/{title}.png" for number, column in enumerate(versions)}
        for column, array in versions.items():
            write(tmp_path / "pictures" / paths[column].split("/")[1], {f"{title}.png": array})
        scores = {
            decoder: {"pre_error": errors[i] if decoder == OURS else 2.5e-5, "psnr": 20.0 + i, "other": 1.0} for decoder in NAMES
        }
        found.append(ReportPicture(title, paths, scores))
    return found


def page(folder):
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_results_json_is_what_was_given_and_strict_json(tmp_path, pictures):
    write_report(tmp_path, results(), pictures)
    document = json.loads((tmp_path / "results.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    expected = results()
    expected["rows"][2]["psnr"] = None  # infinite
    assert document == expected


def test_the_numbers_are_in_their_columns_and_the_best_in_bold(tmp_path, pictures):
    write_report(tmp_path, results(), pictures)
    rows = page(tmp_path).rows
    directions = ["decoder", "N", "LPIPSlower is better", "Pre_error × 1e-5lower is better", "PSNR dBhigher is better"]
    assert rows[0] == [*directions, "SSIMhigher is better"]
    assert rows[1] == ["vanilla", "7", "-", "1082.80", "24.99", "0.7123"]
    assert rows[2] == ["copy-and-paste", "7", "-", "0.00", "26.00*", "0.9000*"]  # not ranked by what it is made for
    assert rows[3] == [OURS, "7", "-", "54.14*", "-", "0.9000*"]
    assert rows[4:6] == [["published: README <x>"], ["large 2x", "-", "0.134", "2.1", "-", "-"]]
    text = (tmp_path / "report.html").read_text()
    assert "1082.80e-5" in text and "by 54.14e-5: 20 times less" in text
    assert "no &lt;weights&gt;" in text


def test_the_table_that_was_asked_for_comes_first(tmp_path, pictures):
    table = {
        "number": 2,
        "title": "Inpainting of holes of 40-50%",
        "set": "imagenet",
        "bin": "40-50%",
        "rows": results()["rows"][:1],
    }
    write_report(tmp_path, results(table=table, published=[]), pictures)
    text = (tmp_path / "report.html").read_text()
    assert "Table 2: Inpainting of holes of 40-50%, imagenet" in text and "No published values of this table are known" in text
    assert [line[0] for line in page(tmp_path).rows[1:6]] == ["vanilla", "decoder", "vanilla", "copy-and-paste", OURS]


def test_a_table_of_one_size_of_holes_counts_its_own_pictures(tmp_path, pictures):
    """Two of the seven have such a hole; or none has."""
    table = {"number": 2, "title": "Large holes", "set": "", "bin": "40-50%", "rows": [row("vanilla", pre_error=0.1, images=2)]}
    write_report(tmp_path, results(table=table, published=[]), pictures)
    first, second = re.findall("<caption>(Measured[^<;]*)", (tmp_path / "report.html").read_text())
    assert (first, second) == ("Measured here on 2 pictures", "Measured here on 7 pictures")
    write_report(tmp_path, results(table=table | {"rows": []}, published=[]), pictures)
    first, second = re.findall("<h3>.*?<caption>([^<;.]*)", (tmp_path / "report.html").read_text())
    assert first == "None of these pictures has a hole of 40-50% of its area, so nothing was measured"
    assert second == "Measured here on 7 pictures"


def test_a_metric_that_is_not_defined_is_not_a_file_that_is_missing(tmp_path, pictures):
    write_report(tmp_path, results(skipped={"lpips": "no file"}, undefined={"inception_score": "not <so>"}), pictures)
    text = (tmp_path / "report.html").read_text()
    assert "<b>inception_score</b> not measured: not &lt;so&gt;<" in text
    assert re.findall("<b>([a-z_]*)</b> not measured: files are missing", text) == ["lpips"]


def test_settings_are_listed_whole(tmp_path, pictures):
    write_report(tmp_path, results(), pictures)
    rows = page(tmp_path).rows
    for line in (["images", "/data"], ["decoders[0].name", OURS], ["decoders[0].sha256", "ab12"], ["environment.jax", "0.10.2"]):
        assert line in rows
    assert ["pre_error_skipped", "1", "1", "1"] in rows


def test_nothing_comes_from_elsewhere_and_nothing_is_missing(tmp_path, pictures):
    write_report(tmp_path, results(), pictures)
    found = page(tmp_path)
    links = [element[key] for _, element in found.elements for key in ("src", "href") if key in element]
    assert len(links) > 50
    for link in links:
        assert ":" not in link.partition("%")[0] and not link.startswith("/")
        with Image.open(tmp_path / unquote(link)) as picture:
            picture.load()
    assert not found.all("link") and all("src" not in script for script in found.all("script"))
    for picture in found.all("img"):
        assert picture["loading"] == "lazy" and picture["alt"] and int(picture["width"]) > 0
    made = {unquote(element["src"]) for element in found.all("img") if "report_files" in element["src"]}
    assert {f"report_files/{path.name}" for path in (tmp_path / "report_files").iterdir()} == made


def test_names_cannot_become_markup(tmp_path, pictures):
    write_report(tmp_path, results(task="<b>task", notes=["<i>note"], skipped={"<u>": "<s>"}), pictures)
    said = (tmp_path / "report.html").read_text()
    for markup in ('<img src="x">', "<u>", "<s>", "<i>note", "<b>task"):
        assert markup not in said and html.escape(markup) in said


def test_cards_are_the_worst_first_and_know_their_scores(tmp_path, pictures):
    write_report(tmp_path, results(), pictures)
    cards = page(tmp_path).all("article")
    assert [card["id"] for card in cards] == [f"picture{i}" for i in (2, 5, 0, 6, 3, 1, 4)]
    scores = json.loads(cards[0]["data-scores"])
    assert scores[OURS] == {"pre_error": 6e-5, "psnr": 22.0} and json.loads(cards[-1]["data-scores"])[OURS]["pre_error"] is None


def test_an_earlier_report_leaves_nothing_behind(tmp_path, pictures):
    write_report(tmp_path, results(), pictures)
    before = len(list((tmp_path / "report_files").iterdir()))
    write_report(tmp_path, results(), pictures, sheet_rows=3)
    assert [card["id"] for card in page(tmp_path).all("article")] == ["picture2", "picture0", "picture1"]
    assert 0 < len(list((tmp_path / "report_files").iterdir())) < before


def test_pictures_without_originals_have_no_differences(tmp_path, pictures):
    rows = [{"decoder": name, "images": COUNT, "fid": 3.0, "inception_score": 5.0} for name in ("vanilla", OURS)]
    bare = [picture._replace(scores={name: {} for name in NAMES}) for picture in pictures]
    write_report(tmp_path, results(task="text-to-image", rows=rows, bins={}, published=None, skipped={}), bare, sheet_rows=3)
    assert not (tmp_path / "report_files").exists()
    assert [card["id"] for card in page(tmp_path).all("article")] == ["picture0", "picture2", "picture4"]
    assert "7 pictures by each of 2 decoders" in (tmp_path / "report.html").read_text()


def test_a_missing_picture_is_named(tmp_path, pictures):
    (tmp_path / pictures[2].paths[OURS]).unlink()
    with pytest.raises(InputError, match=r"the report cannot be written: .*a #2%.png: No such file"):
        write_report(tmp_path, results(), pictures)


def test_who_is_shown():
    examples = [ReportPicture(f"{i}", {}, {"ours": {"pre_error": float(i), "psnr": float(i)}}) for i in range(100)]
    assert choose(examples, "ours", "pre_error", 9) == [99, 98, 97, 51, 50, 49, 2, 1, 0]
    assert choose(examples, "ours", "psnr", 9)[:3] == [0, 1, 2]  # a low PSNR is bad
    assert choose(examples[:5], "ours", "pre_error", 9) == [4, 3, 2, 1, 0]
    assert choose(examples, "ours", None, 4) == [0, 25, 50, 75]
    for most in range(1, 12):
        shown = choose(examples[:11], "ours", "pre_error", most)
        assert len(set(shown)) == len(shown) == most


def test_differences_are_ten_times_as_strong_and_show_the_hole():
    original = np.full((6, 8, 3), 100, np.uint8)
    version, hole = original.copy(), np.zeros((6, 8), bool)
    version[0, 0], version[0, 1], hole[2:5, 3:7] = (103, 100, 90), (200, 100, 100), True
    shown = difference(original, version, hole)
    np.testing.assert_array_equal(shown[0, :3], [[30, 0, 100], [255, 0, 0], [0, 0, 0]])
    outline = (shown == (0, 200, 255)).all(-1)
    expected = hole.copy()
    expected[3, 4:6] = False
    np.testing.assert_array_equal(outline, expected)
    assert not difference(original, original, np.ones((6, 8), bool)).any()


def test_the_zoom_is_where_kept_pixels_change_most():
    original = noise(1, 64, 96)[0] // 2
    version, hole = original.copy(), np.zeros((64, 96), bool)
    version[40:44, 50:54] += 20  # kept
    version[10:30, 10:30] += 90  # the hole may be anything
    hole[8:32, 8:32] = True
    box = worst_box(original, version, hole)
    assert box.side == 16 and box.top <= 40 and box.top + 16 >= 44 and box.left <= 50 and box.left + 16 >= 54
    assert worst_box(original, original, hole) is None
    version[0, 0], corner = 255, Box(0, 0, 16)
    assert worst_box(original, version, np.ones((64, 96), bool)) is None
    enlarged = np.asarray(zoom(version, corner))
    assert enlarged.shape == (208, 208, 3)
    np.testing.assert_array_equal(enlarged[::13, ::13], version[:16, :16])


@pytest.mark.parametrize(
    ("other", "expected"), [((0, 8), True), ((0, 9), False), ((5, 5), False), ((4, 4), True), ((40, 40), False)]
)
def test_places_that_share_half_of_their_pixels_are_shown_once(other, expected):
    assert alike(Box(20, 20, 16), Box(20 + other[0], 20 - other[1], 16)) is expected


def test_every_column_is_explained():
    assert SAYS.keys() == COLUMNS.keys()


PROBE = """
<script>
addEventListener("load", () => {
  const said = {hidden: document.getElementById("sorting").hidden};
  const order = () => [...document.querySelectorAll("article")].map((card) => card.id.replace("picture", "")).join(" ");
  const choose = (name, value) => {
    const control = document.getElementById("sort-" + name);
    control.value = value;
    control.dispatchEvent(new Event("change"));
  };
  said.first = order();
  choose("order", "best"); said.best = order();
  choose("score", "psnr"); choose("decoder", "vanilla"); said.psnr = order();
  choose("order", "worst"); said.worst = order();
  const pictures = [...document.images];
  said.wide = document.documentElement.scrollWidth - innerWidth;
  const loaded = pictures.map((one) => new Promise((done) => {
    one.onload = one.onerror = done;
    one.loading = "eager";
    if (one.complete) done();
  }));
  Promise.all(loaded).then(() => {
    said.pictures = pictures.filter((one) => one.naturalWidth > 0).length;
    document.body.innerHTML = "<output>" + JSON.stringify(said) + "</output>";
  });
});
</script>
"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [1400, 500])
def test_a_real_browser_shows_and_sorts_it(tmp_path, pictures, width):
    write_report(tmp_path, results(), pictures)
    probed = tmp_path / "probed.html"
    probed.write_text((tmp_path / "report.html").read_text().replace("</body>", f"{PROBE}</body>"))
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--window-size={width},900", "--virtual-time-budget=10000", "--dump-dom", probed.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    said = json.loads(html.unescape(re.search(r"<body[^>]*><output>(.*?)</output>", shown)[1]))
    assert said["hidden"] is False
    assert said["first"] == "2 5 0 6 3 1 4" and said["best"] == "1 3 6 0 5 2 4"  # without a value: always last
    assert said["worst"] == "0 1 2 3 4 5 6" and said["psnr"] == "6 5 4 3 2 1 0"
    assert said["pictures"] == len(page(tmp_path).all("img"))
    assert said["wide"] <= 0  # tables scroll by themselves, not the page
