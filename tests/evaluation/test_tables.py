"""The paper's tables as text."""

from asym_jax.evaluation.tables import COLUMNS, TABLES, aligned, cell, markdown

ROWS = [
    {"decoder": "vanilla", "images": 3, "fid": 12.346, "lpips": None, "pre_error": 1234.5e-5, "seam": 0.1},
    {"decoder": "mine", "images": 3, "fid": float("nan"), "lpips": None, "pre_error": 0.0, "seam": 0.01},
]


def test_a_table_has_our_rows_and_then_the_published_ones():
    lines = markdown(1, "imagenet", ROWS, remarks=["a remark"]).splitlines()
    assert lines[0] == "# Table 1: Inpainting (imagenet)"
    head, _, *body = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert head[:3] == ["decoder", "N", "FID (lower is better)"]
    assert body[0] == ["vanilla", "3", "12.35", "-", "1234.50", "0.1000", "measured here"]
    assert body[1][2:6] == ["-", "-", "0.00", "0.0100"]
    assert body[2][0] == "SD + vanilla" and body[2][2:5] == ["9.57", "0.2550", "1082.80"] and body[2][-1].startswith("README")
    assert lines[-1] == "* a remark"
    assert "Published values are of other pictures" in lines[-2]


def test_what_is_not_the_papers_data_says_so():
    assert "cannot be compared with it" in markdown(3, "", ROWS)
    assert "No published values" in markdown(2, "imagenet", ROWS)


def test_a_table_without_pictures_says_so():
    said = "* None of these pictures has a hole of 40-50% of its area, so nothing was measured."
    assert said in markdown(2, "imagenet", []).splitlines()
    assert said not in markdown(2, "imagenet", ROWS).splitlines()


def test_every_column_of_every_table_can_be_shown():
    for table in TABLES.values():
        assert set(table.columns) <= set(COLUMNS)
        for rows in table.published.values():
            for row in rows:
                assert set(row) - {"decoder", "source"} <= set(table.columns)
                assert all(cell(row, name) for name in table.columns)


def test_lines_for_a_terminal_are_aligned_and_without_empty_columns():
    lines = aligned(ROWS)
    assert len({len(line) for line in lines}) == 1
    assert "LPIPS" not in lines[0] and lines[0].split()[:2] == ["N", "FID"]
    assert lines[2].split() == ["mine", "3", "-", "0.00", "0.0100"]
