"""Put measured figures and pictures where readers see them: `python tools/report.py [RUN]`.

Writes docs/results.md and the figures of the README, of the two cards and of the park's data sheet
from the stored results, which are never copied by hand. With RUN, a folder of `make run`, the
pictures that the pages show are copied from its figures to `assets/gallery`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import report_cards
import report_experiments
import report_finetuning
import report_machines
import report_tables
from PIL import Image
from report_park import park
from report_tables import markdown_table, real_groups

from eva_helpers.evaluation.baselines import NETWORK, SUBTRACTION
from eva_helpers.evaluation.robustness import UNSEEN
from eva_helpers.files import InputError, command_line, make_folder, read_json, write_whole
from eva_helpers.paths import PARK, ROOT, WEIGHTS

GALLERY = ROOT / "assets" / "gallery"
EXPERIMENTS = ROOT / "experiments" / "results"
BENCHMARKS = ROOT / "benchmarks" / "results"
CARD = WEIGHTS.with_suffix(".json")
LARGE = 400_000  # bytes, from which a picture gets a palette
START = "<!-- figures -->"
END = "<!-- /figures -->"
HEADER = """# Results

`python tools/report.py` writes this page from `eva_helpers/weights/small.json`,
`experiments/results` and `benchmarks/results`: do not edit it."""
SECTIONS: tuple[tuple[str, Path, Callable[[dict], list[str]]], ...] = (
    ("Rendered test pairs", CARD, report_tables.scores),
    ("Object size", CARD, report_tables.by_size),
    ("Real photographs", EXPERIMENTS / "real_photos.json", report_tables.real),
    ("Composites of real photographs", EXPERIMENTS / "photo_pack.json", report_tables.photo_pack),
    ("Masks of large photographs", EXPERIMENTS / "highres.json", report_tables.highres),
    ("Depth", EXPERIMENTS / "depth.json", report_tables.depth),
    ("The course's protocol", EXPERIMENTS / "course.json", report_finetuning.course),
    ("Fine-tuning and depth", EXPERIMENTS / "replay.json", report_finetuning.replay),
    ("The pair check, real photographs", EXPERIMENTS / "pair_check.json", report_tables.pair_check),
    ("The pair check, synthetic pairs", EXPERIMENTS / "pair_kinds.json", report_tables.pair_check),
    ("Training time, ideal pairs", EXPERIMENTS / "time_to_dice_0.json", report_experiments.race),
    ("Training time", EXPERIMENTS / "time_to_dice_1.json", report_experiments.race),
    ("Limits of the mask", EXPERIMENTS / "ceiling.json", report_experiments.ceiling),
    ("Small photos first", EXPERIMENTS / "progressive.json", report_experiments.progressive),
    ("Loss weights", EXPERIMENTS / "bank.json", report_experiments.bank),
    ("Balancing methods", EXPERIMENTS / "balances.json", report_experiments.balances),
    ("Speed", BENCHMARKS / "speed.json", report_tables.speed),
    ("Time and memory of a pair", BENCHMARKS / "photos.json", report_tables.photos),
    ("Speed of files", BENCHMARKS / "files.json", report_tables.files),
    ("Many images", BENCHMARKS / "many.json", report_machines.many),
    ("Several processes", BENCHMARKS / "processes.json", report_machines.processes),
    ("Long work", BENCHMARKS / "endurance.json", report_machines.endurance),
    ("Other runtimes", BENCHMARKS / "runtimes.json", report_machines.runtimes),
    ("A GPU", BENCHMARKS / "gpu.json", report_machines.gpu),
    ("Kills", BENCHMARKS / "kills.json", report_machines.kills),
)


def results_page() -> str:
    """docs/results.md: a section for every stored result."""
    parts = [HEADER]
    for title, path, section in SECTIONS:
        if path.exists():
            parts += [f"## {title}", *section(read_json(path))]
    return "\n\n".join(parts) + "\n"


def readme_table() -> str:
    """The README's table: mask and depth on six kinds of pairs."""
    report = read_json(CARD)["test_scores"]
    unseen = [
        (f"unseen scenes and dogs, {size}", methods[UNSEEN], report["samples"])
        for size, methods in report["quadrants"].items()
    ]
    true_pairs = [
        (
            f"true pairs (rendered with the dog in the scene), {size}",
            methods,
            report["true pairs"]["pairs"],
        )
        for size, methods in report["true pairs"].items()
        if size != "pairs"
    ]
    rows = []
    for title, methods, count in (*unseen, *true_pairs):
        network = methods[NETWORK]
        depth = f"RMSE / std {network['depth_rmse_std']:.3f}"
        masks = (network["mask_dice"], methods[SUBTRACTION]["mask_dice"])
        rows.append((title, count, *masks, depth))
    for group, (count, means) in real_groups(read_json(EXPERIMENTS / "real_photos.json")).items():
        depth = f"correlation {means['depth_correlation']:.3f}"
        rows.append((f"real {group}s", count, means["dice"], means["subtraction"], depth))
    pack = read_json(EXPERIMENTS / "photo_pack.json")
    worst = pack["all together"]
    title = "composites of real photographs, all differences"
    rows.append((title, pack["count"], worst["dice"], worst["subtraction"], ""))
    heads = ("test pairs", "number", "mask Dice, network", "mask Dice, subtraction", "depth")
    return markdown_table(heads, rows)


def model_card() -> str:
    """The figures of docs/model_card.md."""
    parts = report_cards.model(WEIGHTS)
    return "\n\n".join([*parts, "On every kind of pair, beside subtraction:", readme_table()])


def data_card() -> str:
    """The figures of docs/data_card.md."""
    photographs = read_json(EXPERIMENTS / "real_photos.json")
    pack = read_json(EXPERIMENTS / "photo_pack.json")
    return "\n\n".join(report_cards.used(read_json(CARD), photographs, pack))


def fill(page: Path, text: str) -> None:
    """Replace what is between the markers of a page.

    Raises:
        InputError: it has no markers.
    """
    before, start, rest = page.read_text(encoding="utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise InputError(f"{page} has no {START} ... {END}: add the two markers where it belongs.")
    write_whole(page, f"{before}{START}\n{text}\n{END}{after}".encode())


def shown() -> set[str]:
    """Names of the gallery pictures that a page shows."""
    pages = (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    pages += tuple((ROOT / "notebooks").glob("*.ipynb"))
    pattern = r"assets/gallery/([\w.-]+\.png)"
    return {
        name for page in pages for name in re.findall(pattern, page.read_text(encoding="utf-8"))
    }


def copy_pictures(run: Path) -> list[Path]:
    """Copy the pictures that the pages show from the figures of a run.

    Raises:
        InputError: the run lacks one.
    """
    names = sorted(shown())
    missing = [name for name in names if not (run / "figures" / name).is_file()]
    if missing:
        raise InputError(
            f"{run}/figures lacks {', '.join(missing)}: give a run of the whole series."
        )
    make_folder(GALLERY)
    return [copy_smaller(run / "figures" / name, GALLERY / name) for name in names]


def copy_smaller(picture: Path, target: Path) -> Path:
    """Copy; large pictures get a palette of 256 colours, which takes a third of the bytes."""
    if picture.stat().st_size < LARGE:
        return Path(shutil.copyfile(picture, target))
    Image.open(picture).convert("RGB").quantize(256).save(target, optimize=True)
    return target


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "run", type=Path, nargs="?", help="also copy this run's pictures to the gallery"
    )
    options = parser.parse_args(arguments)
    for path in copy_pictures(options.run) if options.run else ():
        print(path.relative_to(ROOT), f"{path.stat().st_size // 1024} KB")
    write_whole(ROOT / "docs" / "results.md", results_page().encode())
    fill(ROOT / "README.md", readme_table())
    fill(PARK / "README.md", park())
    fill(ROOT / "docs" / "model_card.md", model_card())
    fill(ROOT / "docs" / "data_card.md", data_card())
    print("wrote docs/results.md, README.md, assets/park/README.md and the cards in docs")


if __name__ == "__main__":
    sys.exit(main())
