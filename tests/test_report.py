"""What tools/report.py writes is what the stored results say."""

import pytest
import report
import report_experiments
import report_tables
from conftest import picture

from eva_helpers.files import InputError, read_json
from eva_helpers.paths import PARK, ROOT

REMEDY = "run `python tools/report.py`"


def test_the_results_page_is_up_to_date():
    same = (ROOT / "docs/results.md").read_text(encoding="utf-8") == report.results_page()
    assert same, REMEDY


def test_the_readmes_table_is_up_to_date():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = f"{report.START}\n{report.readme_table()}\n{report.END}"
    assert table in text, REMEDY


def test_the_parks_data_sheet_is_up_to_date():
    assert report.park() in (PARK / "README.md").read_text(encoding="utf-8"), REMEDY


@pytest.mark.parametrize("name", ["model_card", "data_card"])
def test_the_cards_are_up_to_date(name):
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert f"{report.START}\n{getattr(report, name)()}\n{report.END}" in text, REMEDY


def test_the_model_card_says_what_the_weights_card_says():
    card = read_json(report.CARD)
    text = report.model_card()
    assert f"| parameters | {card['network']['parameters']:,} |" in text
    assert all(f"| {stage['name']} | {stage['epochs']} |" in text for stage in card["stages"])
    scores = card["test_scores"]["quadrants"]["64 px"][report.UNSEEN][report.NETWORK]
    low, high = scores["interval"]["mask_dice"]
    assert f"{scores['mask_dice']:.3f} ({low:.3f} to {high:.3f})" in text


def test_the_gallery_holds_what_the_pages_show():
    assert {path.name for path in report.GALLERY.iterdir()} == report.shown()


def test_the_readmes_table_has_a_row_for_every_kind_of_pair():
    heads, _, *rows = report.readme_table().splitlines()
    assert len(rows) == 6 and all(row.count("|") == heads.count("|") for row in rows)
    scores = read_json(report.CARD)["test_scores"]["quadrants"]["224 px"][report.UNSEEN]
    cells = [cell.strip() for cell in rows[1].split("|")]
    assert cells[2:5] == [
        "384",
        *(f"{scores[who]['mask_dice']:.3f}" for who in scores if "back" not in who),
    ]


def test_only_what_is_between_the_markers_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.START}\nold\n{report.END}\nafter\n")
    report.fill(page, "new")
    assert page.read_text() == f"before\n{report.START}\nnew\n{report.END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(InputError, match="no <!-- figures -->"):
        report.fill(page, "new")
    assert page.read_text() == "no markers"


def test_tables_show_every_plan_and_every_mask():
    plans = read_json(report.EXPERIMENTS / "progressive.json")
    table = "\n".join(report_experiments.progressive(plans))
    for name, plan in plans["plans"].items():
        assert name in table and f"{plan['224 px']['depth_rmse_std']:.3f}" in table
    result = read_json(report.EXPERIMENTS / "ceiling.json")
    table = "\n".join(report_experiments.ceiling(result))
    names = [name for values in result["sizes"].values() for name in values["ideal pairs"]]
    assert all(name in table for name in names) and "| 224 px |" in table


def test_groups_of_photographs_get_their_best_threshold():
    rows = {
        "park_1": {"dice": 0.9, "subtraction": [0.1, 0.8], "depth_correlation": 0.4},
        "park_2": {"dice": 0.7, "subtraction": [0.5, 0.2], "depth_correlation": 0.6},
    }
    ((group, (count, means)),) = report_tables.real_groups(rows).items()
    expected = {"dice": 0.8, "subtraction": 0.5, "depth_correlation": 0.5}
    assert group == "park" and count == 2 and means == pytest.approx(expected)


def test_pictures_are_copied_from_a_run(tmp_path, monkeypatch):
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    monkeypatch.setattr(report, "GALLERY", tmp_path / "gallery")
    monkeypatch.setattr(report, "LARGE", 20_000)
    small, *_, large = names = sorted(report.shown())
    for name in names:
        picture(0, 300 if name == large else 60).save(run / "figures" / name)
    copied = report.copy_pictures(run)
    assert [path.name for path in copied] == names
    assert copied[0].read_bytes() == (run / "figures" / small).read_bytes()
    assert copied[-1].stat().st_size < (run / "figures" / large).stat().st_size
    (run / "figures" / small).unlink()
    with pytest.raises(InputError, match=small):
        report.copy_pictures(run)
