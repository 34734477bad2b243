"""Put measured figures and pictures where readers see them: `python benchmarks/report.py [RUN]`.

The README's figures between its markers are written from `assets/weights/small.json` and `benchmarks/results/*.json`, never by hand. With
RUN, a folder of `make run`, the pictures that the README and the notebooks show are copied from its figures to `assets/gallery`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from eva_helpers.assets import GALLERY, PARK, ROOT, WEIGHTS, load_catalogue, read_background

RESULTS = ROOT / "benchmarks" / "results"
LARGE = 400_000  # bytes
START, END = "<!-- figures -->", "<!-- /figures -->"
SHOWN = {
    "mask_iou": "mask IoU",
    "mask_dice": "mask Dice",
    "mask_pooled_iou": "mask IoU, pooled",
    "mask_boundary_f": "boundary F",
    "depth_rmse_std": "depth RMSE / std",
    "depth_delta1": "depth delta1",
    "depth_ordered": "object in front",
}


def row(*cells: object) -> str:
    return "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def scores(card: dict) -> list[str]:
    """The four quadrants at every size, true pairs and empty scenes, each beside its baselines."""
    report = card["test_scores"]
    lines = [
        "The shipped network on rendered pairs with capture differences at strength 1, beside subtraction (threshold chosen on "
        "training pairs), a constant depth (the mean of training pairs), and the same network's depth of the background alone:",
        "",
        row("test pairs", "", *SHOWN.values()),
        row(*["---"] * (2 + len(SHOWN))),
    ]
    tables = [(size, name, rows) for size, quadrants in report["quadrants"].items() for name, rows in quadrants.items()]
    tables += [
        (size, f"{report['true pairs']['pairs']} true pairs", rows) for size, rows in report["true pairs"].items() if size != "pairs"
    ]
    for size, name, rows in tables:
        for who, values in rows.items():
            lines.append(row(f"{size}: {name}" if who == "network" else "", who, *(float(values[key]) for key in SHOWN)))
    for size, alarms in report["empty scenes"].items():
        lines += ["", f"Empty scenes with a false mask, {size}: " + ", ".join(f"{who} {share:.1%}" for who, share in alarms.items()) + "."]
    return lines + by_size(report["mask IoU by object size"])


def by_size(tables: dict) -> list[str]:
    """Mask IoU against the object's size, and how much a pixel is worth there."""
    columns = [name for name in next(iter(next(iter(tables.values())).values())) if name != "images"]
    lines = [
        "",
        "The mean is over images, so small objects decide it, and of those most is outline. Mask IoU of unseen pairs by the object's size "
        "(square root of its share of the frame), and what the true mask itself would score, a pixel off:",
        "",
        row("size", "images", *columns),
        row(*["---"] * (2 + len(columns))),
    ]
    for size, table in tables.items():
        lines += [row(f"{size}: {bins}", values["images"], *(float(values[name]) for name in columns)) for bins, values in table.items()]
    return lines


def pack(report: dict) -> list[str]:
    """Composites of real photographs, five ways."""
    lines = [
        f"{report['count']} composites of real photographs (people and furniture in rooms, 220 px; subtraction at the threshold that is "
        "best for each row):",
        "",
        row("the two photos", "mask Dice", "Dice, worst tenth", "Dice of subtraction"),
        row(*["---"] * 4),
    ]
    ways = {way: values for way, values in report.items() if way != "count"}
    return lines + [row(way, *(values[key] for key in ("dice", "worst_tenth", "subtraction"))) for way, values in ways.items()]


def real(rows: dict) -> list[str]:
    """Means by group of real photographs."""
    groups: dict[str, list[dict]] = {}
    for name, values in rows.items():
        groups.setdefault(name.rpartition("_")[0] or name, []).append(values)
    lines = ["Real photographs, which no training has seen (subtraction at the threshold that is best for each group):", ""]
    lines += [row("photos", "pairs", "mask Dice", "Dice of subtraction", "correlation of depth with its label"), row(*["---"] * 5)]
    for group, values in groups.items():
        curves = zip(*(value["subtraction"] for value in values), strict=True)
        best = max(sum(curve) / len(values) for curve in curves)
        means = [sum(value[key] for value in values) / len(values) for key in ("dice", "depth_correlation")]
        lines.append(row(group, len(values), means[0], best, means[1]))
    return lines


def speed(report: dict) -> list[str]:
    """Rates of one run as ratios to the source's way."""
    lines = [f"Speed on {report['machine']}, ratios within one run:", "", row("", "samples/s", "against the source's"), row(*["---"] * 3)]
    for title, rates in report["rates"].items():
        reference = [value for name, value in rates.items() if name.startswith(("source", "the source's"))][-1:]
        for name, value in rates.items():
            lines.append(row(f"{title}: {name}", f"{value:,.1f}", f"{value / reference[0]:.1f} x" if reference else ""))
    return lines


def race(report: dict) -> list[str]:
    """A fresh network against the source's, the same time each."""
    lines = [
        f"Trained from nothing at 64 px, capture differences at strength {report['strength']:g}, unseen x unseen: our network and the "
        "source's, the same time each. Dice is the mean over images, pooled that of all pixels together (subtraction at its best "
        f"threshold: {report['subtraction']['dice']:.3f}, pooled {report['subtraction']['pooled']:.3f}):",
        "",
        row("seconds of training", "Dice, ours", "pooled", "Dice, the source's network", "pooled"),
        row(*["---"] * 5),
    ]
    for check in report["ours"]:
        near = [other for other in report["source"] if abs(other["seconds"] - check["seconds"]) < 0.1 * check["seconds"]]
        theirs = (near[0]["dice"], near[0]["pooled"]) if near else ("", "")
        lines.append(row(f"{check['seconds']:.0f}", check["dice"], check["pooled"], *theirs))
    return lines


def progressive(report: dict) -> list[str]:
    """Small photos first, or one size all along."""
    first = next(iter(report["plans"].values()))
    sizes = [name for name in first if name != "minutes"]
    lines = [
        "Small photos first? The shipped recipe in small, about the same time each way, and the shipped training itself after each of its "
        "stages (validation split, capture differences at strength 1). Mixed sizes come last because large photos, and depth on them, gain "
        "by them in the end; small photos lose, unless large ones have layers of their own:",
        "",
    ]
    lines += [row("sizes", "minutes", *(f"{what}, {size}" for size in sizes for what in ("mask IoU", "depth RMSE / std")))]
    lines += [row(*["---"] * (2 + 2 * len(sizes)))]
    for name, values in report["plans"].items():
        found = [float(values[size][key]) for size in sizes for key in ("mask_iou", "depth_rmse_std")]
        lines.append(row(name, f"{values['minutes']:.1f}", *found))
    return lines


def ceiling(report: dict) -> list[str]:
    """How good a mask can be at all."""
    sizes = report["sizes"]
    first = next(iter(sizes.values()))
    samples = ", ".join(f"{values['samples']:,} samples at {size}" for size, values in sizes.items())
    lines = [
        "How good can a mask be at all? Mean mask IoU on validation pairs: the network's masks with the truth put in on outlines (pixels "
        "covered in part) or everywhere else; the true mask, were its coverage known that well; and ideal pairs, which differ by nothing "
        f"but the object, for the shipped network and for the same trained further on such pairs alone ({samples}):",
        "",
        row("pairs", "mask", *sizes),
        row(*["---"] * (2 + len(sizes))),
    ]
    for pairs, names in first.items():
        if isinstance(names, dict):
            lines += [row(pairs, name, *(values[pairs][name] for values in sizes.values())) for name in names]
    return lines


def check(report: dict) -> list[str]:
    """What the pair check says about composites of real photographs, and what `align` mends."""
    lines = [
        f"The pair check on {report['count']} composites of real photographs ({report['ms for 640 x 480']:.0f} ms for 640 x 480):",
        "",
        row("what is wrong", "flagged", "mask Dice", "after align"),
        row(*["---"] * 4),
    ]
    for name, values in report.items():
        if isinstance(values, dict):
            lines.append(row(name, f"{values['flagged']:.1%}", values.get("dice", ""), values.get("aligned", "")))
    return lines


def conditional(report: dict) -> list[str]:
    """The loss-conditional network beside dedicated ones."""
    lines = [
        "One loss-conditional network beside dedicated ones, all begun with the shipped weights, the same budget each "
        f"({report['settings']['epochs'] * report['settings']['samples']:,} samples; the conditional one, of which the modulation alone is "
        "trained, is shown half as many, twice each; validation split, 64 px):",
        "",
        row("weighting", "mask IoU, conditional", "dedicated", "depth RMSE / std, conditional", "dedicated"),
        row(*["---"] * 5),
    ]
    for entry in report["rows"]:
        values = [entry[who][key] for key in ("mask_iou", "depth_rmse_std") for who in ("conditional", "dedicated")]
        lines.append(row(entry["name"], *values))
    terms = list(report["answers"]["training pairs"])
    lines += [
        "",
        "What each has learnt: losses on training pairs, conditional / dedicated:",
        "",
        row("weighting", *terms),
        row(*["---"] * (1 + len(terms))),
    ]
    for entry in report["rows"]:
        ours, theirs = (entry["training pairs"][who] for who in ("conditional", "dedicated"))
        lines.append(row(entry["name"], *(f"{ours[term]:.4f} / {theirs[term]:.4f}" for term in terms)))
    first, last, steps = report["shares"][0], report["shares"][-1], len(report["shares"]) - 1
    lines += [
        "",
        f"How the loss of each term answers when its own weight grows from {first:.0%} to {last:.0%} of all weights, how many of "
        f"the {steps} steps of that way lower it in the mean of all networks, and its change in each of the networks, which differ by "
        "their seed alone:",
        "",
        row("term", *(head for name in report["answers"] for head in (name, "steps", "each seed"))),
        row(*["---"] * (1 + 3 * len(report["answers"]))),
    ]
    for term in next(iter(report["answers"].values())):
        lines.append(row(term, *(cell for terms in report["answers"].values() for cell in answer(terms[term]))))
    lines += [
        "",
        f"What the mask's share buys: validation scores with {first:.0%} and with {last:.0%} of all weights on the mask, in the mean "
        "and for each seed, and how many steps of the mean go the way of their weight (the mask no worse, the depth no better):",
        "",
        row("score", f"{first:.0%}", f"{last:.0%}", "steps", "each seed"),
        row(*["---"] * 5),
    ]
    for score, seeds in report["tradeoff"].items():
        mean = average(seeds)
        ends = ", ".join(f"{values[0]:.3f} -> {values[-1]:.3f}" for values in seeds)
        lines.append(row(score, f"{mean[0]:.4f}", f"{mean[-1]:.4f}", sum(a <= b for a, b in pairwise(mean)), ends))
    return lines


def average(seeds: list[list[float]]) -> list[float]:
    """The networks' mean at every share."""
    return [sum(values) / len(values) for values in zip(*seeds, strict=True)]


def answer(seeds: list[list[float]]) -> tuple[str, int, str]:
    """Relative change of the networks' mean loss, its steps downwards, and every network's change."""
    mean = average(seeds)
    changes = [f"{values[-1] / values[0] - 1:+.1%}" for values in (mean, *seeds)]
    return changes[0], sum(b <= a for a, b in pairwise(mean)), ", ".join(changes[1:])


def figures() -> str:
    """The README's section, from the files."""
    parts = [scores(json.loads(WEIGHTS.with_suffix(".json").read_text()))]
    sections = {"real_photos": real, "photo_pack": pack, "pair_check": check, "time_to_dice_0": race, "time_to_dice_1": race}
    sections |= {"ceiling": ceiling, "progressive": progressive, "conditional": conditional, "speed": speed, "files": speed}
    for name, make in sections.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            parts.append(make(json.loads(path.read_text())))
    return "\n\n".join("\n".join(part) for part in parts)


def count(values: Iterable) -> str:
    """Values with how often they occur, most frequent first."""
    return ", ".join(f"{value} {number}" for value, number in Counter(values).most_common())


def park() -> str:
    """Counts and statistics of the embedded park, for its data sheet."""
    catalogue = load_catalogue()
    scenes, cutouts, pairs = catalogue.scenes, catalogue.cutouts, catalogue.pairs
    views = [read_background(catalogue, scene, 64) for scene in scenes]
    photos, depths = (np.stack([view[k] for view in views]) for k in (0, 1))
    lines = {
        "views": f"{len(scenes)} of {len({s.scene for s in scenes})} scenes ({count(s.split for s in scenes)})",
        "seasons": count(s.info["season"] for s in scenes),
        "light": count(s.info["light"] for s in scenes),
        "in sight": count(kind for s in scenes for kind in s.info["kind"]),
        "camera height, m": span([s.camera_height for s in scenes]),
        "pitch, degrees": span([s.info["pitch"] for s in scenes]),
        "focal length / width": span([s.focal / 256 for s in scenes]),
        "background, mean and std of R, G, B": f"{shorter(photos.mean((0, 1, 2)) / 255)}; {shorter(photos.std((0, 1, 2)) / 255)}",
        "inverse depth, mean and std": f"{depths.mean():.3f}; {depths.std():.3f}",
        "cut-outs": f"{len(cutouts)} of {len({c.object for c in cutouts})} dogs ({count(c.split for c in cutouts)})",
        "coats": count(c.info["coat"] for c in cutouts),
        "poses": count(c.info["pose"] for c in cutouts),
        "true pairs": f"{len(pairs)} in {len({p.scene for p in pairs})} views ({count(p.split for p in pairs)}), "
        f"{sum(p.info['hidden'] > 0.05 for p in pairs)} partly hidden",
        "size": f"{sum(path.stat().st_size for path in PARK.rglob('*') if path.is_file()) / 2**20:.0f} MB",
    }
    return "\n".join([row("", ""), row("---", "---"), *(row(name, value) for name, value in lines.items())])


def span(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}, median {np.median(values):.2f}"


def shorter(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def write(page: Path, text: str) -> None:
    """Replace what stands between the markers of a page."""
    before, _, rest = page.read_text().partition(START)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{START}\n{text}\n{END}{after}")


def wanted() -> set[str]:
    """Names of the gallery pictures that a page shows."""
    pages = (ROOT / "README.md", *(ROOT / "notebooks").glob("*.ipynb"))
    return {name for page in pages for name in re.findall(r"assets/gallery/([\w.-]+\.png)", page.read_text())}


def copy_pictures(run: Path) -> list[Path]:
    """Copy the shown pictures from a run; one that the run lacks is an error."""
    missing = [name for name in sorted(wanted()) if not (run / "figures" / name).is_file()]
    if missing:
        sys.exit(f"error: {run}/figures lacks {', '.join(missing)}: give a run of the whole series.")
    GALLERY.mkdir(exist_ok=True)
    return [shrunk(run / "figures" / name, GALLERY / name) for name in sorted(wanted())]


def shrunk(source: Path, target: Path) -> Path:
    """A copy; large pictures get a palette of 256 colours, a third of the bytes for all who clone."""
    if source.stat().st_size < LARGE:
        return Path(shutil.copyfile(source, target))
    Image.open(source).convert("RGB").quantize(256).save(target, optimize=True)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="copy this run's pictures to the gallery")
    options = parser.parse_args()
    for path in copy_pictures(options.run) if options.run else ():
        print(path.relative_to(ROOT), f"{path.stat().st_size // 1024} KB")
    write(ROOT / "README.md", figures())
    write(PARK / "README.md", park())


if __name__ == "__main__":
    main()
