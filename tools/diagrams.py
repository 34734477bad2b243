"""Draw the diagrams of notebooks and README into assets/diagrams: `python tools/diagrams.py`."""

from __future__ import annotations

import io
import sys
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from eva_helpers.files import command_line, make_folder, write_whole
from eva_helpers.model import ModelConfig
from eva_helpers.paths import ROOT

FOLDER = ROOT / "assets" / "diagrams"
FILLS = {  # photos, steps without weights, learned layers, mask, depth, notes
    "photo": "#eeeeee", "step": "#ffffff", "learned": "#d5efe6", "mask": "#d0e6f4",
    "depth": "#fbe0cd", "note": "none",
}  # fmt: skip
DPI = 110
SIDE = 64  # px of the photos whose shapes are shown


class Box(NamedTuple):
    """A text at a place, in inches from the lower left; `kind` is one of FILLS."""

    x: float
    y: float
    text: str
    kind: str = "step"


class Diagram(NamedTuple):
    """Boxes by name, and arrows between them as "from > to" or "from > to: label"."""

    size: tuple[float, float]
    boxes: dict[str, Box]
    arrows: tuple[str, ...]


def composites() -> Diagram:
    """00: from a number to a pair with labels."""
    boxes = {
        "index": Box(0.8, 1.2, "item i\n+ seed", "photo"),
        "parts": Box(2.7, 1.2, "background, cut-out,\nposition, flip"),
        "place": Box(4.9, 1.2, "place: size and distance\nof the ground there"),
        "paste": Box(6.9, 1.2, "paste"),
        "photos": Box(8.9, 2.0, "background, image", "photo"),
        "mask": Box(8.9, 1.2, "mask = alpha", "mask"),
        "depth": Box(8.9, 0.4, "depth = ground + relief", "depth"),
    }
    arrows = ("index > parts", "parts > place", "place > paste")
    return Diagram((10, 2.4), boxes, (*arrows, "paste > photos", "paste > mask", "paste > depth"))


def split() -> Diagram:
    """01: the four quadrants of scenes and dogs."""
    boxes = {
        "scenes": Box(1.2, 1.55, "training scenes"),
        "others": Box(1.2, 0.6, "test scenes"),
        "dogs": Box(3.7, 2.3, "training dogs"),
        "strangers": Box(6.5, 2.3, "test dogs"),
        "train": Box(3.7, 1.55, "training and\n'seen' test pairs", "learned"),
        "dog": Box(6.5, 1.55, "only the dog\nis new", "photo"),
        "scene": Box(3.7, 0.6, "only the scene\nis new", "photo"),
        "test": Box(6.5, 0.6, "both are new:\nwhat you can expect", "depth"),
    }
    arrows = ("dogs > train", "scenes > train", "strangers > dog", "others > scene")
    return Diagram((8, 2.7), boxes, arrows)


def augmentation() -> Diagram:
    """02: the two pipelines."""
    boxes = {
        "composite": Box(1.0, 1.2, "composite or\ntrue pair", "photo"),
        "geometry": Box(3.3, 1.2, "geometry: crop, mirror, rotate\nall four maps together"),
        "one": Box(6.2, 2.0, "capture differences of the background:\nexposure, colour, shake"),
        "other": Box(6.2, 1.2, "capture differences of the image:\nnoise, JPEG, cast shadow"),
        "labels": Box(6.2, 0.4, "mask and depth stay as they are", "mask"),
        "batch": Box(9.2, 1.2, "float32 tensors\nin [0, 1]", "photo"),
    }
    arrows = ("composite > geometry", "geometry > one", "geometry > other", "geometry > labels")
    last = ("one > batch", "other > batch", "labels > batch")
    return Diagram((10.2, 2.4), boxes, (*arrows, *last))


def network() -> Diagram:
    """03 and README: matching, encoder, decoders, with the shapes of one pair of 64 px."""
    config = ModelConfig()
    scales = [f"{w} x {SIDE >> n} x {SIDE >> n}" for n, w in enumerate(config.widths, 1)]
    boxes = {
        "background": Box(0.9, 2.75, f"background\n3 x {SIDE} x {SIDE}", "photo"),
        "image": Box(0.9, 0.65, f"image\n3 x {SIDE} x {SIDE}", "photo"),
        "match": Box(2.7, 2.75, "match exposure,\ncolour, position"),
        "encoder": Box(4.6, 1.7, "ResNet encoder,\nthe same for both\n\n" + "\n".join(scales),
                       "learned"),
        "fuse": Box(6.6, 1.7, "per scale:\nfeatures of the image,\ndifference from\n"
                              "the background's"),
        "mask decoder": Box(8.7, 2.75, "mask decoder", "mask"),
        "depth decoder": Box(8.7, 0.65, "depth decoder\n+ coordinates", "depth"),
        "mask": Box(10.6, 2.75, f"mask\n1 x {SIDE} x {SIDE}", "mask"),
        "depth": Box(10.6, 0.65, f"depth\n1 x {SIDE} x {SIDE}", "depth"),
    }  # fmt: skip
    arrows = (
        "background > match", "image > match", "match > encoder", "image > encoder",
        "encoder > fuse", "fuse > mask decoder", "fuse > depth decoder",
        "mask decoder > mask", "depth decoder > depth", "mask > depth: draws the object's edge",
    )  # fmt: skip
    return Diagram((11.4, 3.4), boxes, arrows)


def loss() -> Diagram:
    """04: terms and weights."""
    terms = {
        "bce": Box(4.3, 3.0, "cross-entropy", "mask"), "dice": Box(4.3, 2.4, "Dice", "mask"),
        "ssim": Box(4.3, 1.6, "SSIM: structure", "depth"),
        "edge": Box(4.3, 1.0, "finite differences: edges", "depth"),
        "l1": Box(4.3, 0.4, "L1: level", "depth"),
    }  # fmt: skip
    boxes = terms | {
        "net": Box(0.9, 1.7, "network", "learned"),
        "mask": Box(2.2, 2.7, "mask\nlogits", "mask"),
        "depth": Box(2.2, 1.0, "depth", "depth"),
        "sum": Box(7.0, 1.7, "weighted sum"),
        "step": Box(9.0, 1.7, "gradient,\none step"),
    }
    arrows = (
        "net > mask", "net > depth", "mask > bce", "mask > dice", "depth > ssim", "depth > edge",
        "depth > l1", "bce > sum: 0.3", "dice > sum: 0.3", "ssim > sum: 0.7", "edge > sum: 0.7",
        "l1 > sum: 0.7", "sum > step",
    )  # fmt: skip
    return Diagram((10, 3.4), boxes, arrows)


def evaluation() -> Diagram:
    """05: what is compared with what."""
    boxes = {
        "pairs": Box(1.0, 1.5, "unseen pairs,\nrendered and real", "photo"),
        "net": Box(3.4, 2.4, "network", "learned"),
        "subtraction": Box(3.4, 1.5, "subtraction,\nconstant depth"),
        "blind": Box(3.4, 0.5, "depth of the\nbackground alone", "depth"),
        "scores": Box(6.0, 1.5, "IoU, Dice,\nRMSE / std, delta1"),
        "where": Box(8.4, 2.3, "by cause:\nsize, contrast, distance"),
        "how": Box(8.4, 0.7, "by difference of the shots:\nexposure, shake, noise, shadow"),
    }
    first = ("pairs > net", "pairs > subtraction", "pairs > blind", "net > scores")
    last = ("subtraction > scores", "blind > scores", "scores > where", "scores > how")
    return Diagram((9.8, 2.9), boxes, first + last)


def steering() -> Diagram:
    """06: the loop around a slider."""
    boxes = {
        "slider": Box(1.0, 1.9, "slider"),
        "weights": Box(3.0, 1.9, "loss weights"),
        "step": Box(5.2, 1.9, "next step,\nin a thread", "learned"),
        "record": Box(7.6, 1.9, "losses, weights,\ncosine of the gradients"),
        "figure": Box(5.2, 0.5, "figure, drawn again every second or two", "photo"),
    }
    arrows = ("slider > weights", "weights > step", "step > record", "record > figure")
    return Diagram((9, 2.4), boxes, (*arrows, "figure > slider: you"))


DIAGRAMS = {
    "00_composites": composites, "01_split": split, "02_augmentation": augmentation,
    "03_network": network, "04_loss": loss, "05_evaluation": evaluation, "06_steering": steering,
}  # fmt: skip


def draw(diagram: Diagram) -> Figure:
    """The figure."""
    figure = Figure(figsize=diagram.size)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, diagram.size[0]), ylim=(0, diagram.size[1]))
    ax.set_axis_off()
    patches = {}
    for name, (x, y, text, kind) in diagram.boxes.items():
        style = {"boxstyle": "round,pad=0.4", "facecolor": FILLS[kind], "edgecolor": "#555555"}
        label = ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox=style, zorder=3)
        patches[name] = label.get_bbox_patch()
    figure.canvas.draw()  # boxes get their sizes
    for arrow in diagram.arrows:
        ends, _, label = arrow.partition(": ")
        start, end = ends.split(" > ")
        (x, y), (to_x, to_y) = diagram.boxes[start][:2], diagram.boxes[end][:2]
        line = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 1, "shrinkB": 1}
        line |= {"patchA": patches[start], "patchB": patches[end]}
        ax.annotate("", (to_x, to_y), (x, y), arrowprops=line)
        note = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        middle = ((x + to_x) / 2, (y + to_y) / 2)
        ax.text(*middle, label, ha="center", va="center", fontsize=8, bbox=note if label else None)
    return figure


def picture(diagram: Diagram) -> bytes:
    """A PNG file with a palette."""
    drawn = io.BytesIO()
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        draw(diagram).savefig(drawn, dpi=DPI, facecolor="white")
    small = io.BytesIO()
    colours = Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    colours.save(small, "PNG", optimize=True)
    return small.getvalue()


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Write all of them."""
    make_folder(FOLDER)
    for name, diagram in DIAGRAMS.items():
        path = write_whole(FOLDER / f"{name}.png", picture(diagram()))
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
