"""What is written of many images: maps, cut-outs, a list, a video; checks and averages."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from eva_helpers.files import InputError, make_folder, write_whole
from eva_helpers.images import read_rgb, resize, write_png
from eva_helpers.predict.effects import cut_out, replace_background
from eva_helpers.predict.pairing import check_pair
from eva_helpers.predict.predictor import quantised

CHECKED = 50  # images from one check of the pair to the next
JUMP = 0.12  # mean change of a thumbnail, in units of [0, 1], from which a scene is another one
THUMBNAIL = (24, 32)
COLUMNS = ("name", "object", "problem")  # of the list: object is its share of the frame


@dataclass(frozen=True)
class Maps:
    """Photos and maps of one image, as in `predict.Prediction`, and what is wrong with the pair."""

    background: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    problem: str = ""


class Checks:
    """Checks the pair from time to time and whenever the scene jumps; never where `always` was."""

    def __init__(self, always: bool = False) -> None:
        self.always = always
        self._last: np.ndarray | None = None
        self._since = 0
        self._verdict = ""

    def __call__(self, maps: Maps) -> tuple[str, bool]:
        """What is wrong with the pair, and whether the scene is another than before."""
        small = resize(maps.image, THUMBNAIL).astype(np.float32) / 255
        jumped = self._last is None or float(np.abs(small - self._last).mean()) > JUMP
        self._last = small
        self._since += 1
        if self.always:
            return maps.problem, jumped
        if jumped or self._since >= CHECKED:
            check = check_pair(maps.background, maps.image)
            self._verdict = check.verdict if check.problems else ""
            self._since = 0
        return self._verdict, jumped


class Average:
    """Exponential moving average of masks and depths over time; `weight` is that of the past."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._past: Maps | None = None

    def __call__(self, maps: Maps, jumped: bool) -> Maps:
        """The average so far; it begins anew after a jump, and where the size changes."""
        past = self._past
        if self.weight and past and not jumped and past.mask.shape == maps.mask.shape:
            share = np.float32(self.weight)
            mask = share * past.mask + (1 - share) * maps.mask
            maps = replace(maps, mask=mask, depth=share * past.depth + (1 - share) * maps.depth)
        self._past = maps if self.weight else None
        return maps


class Writer:
    """Writes the outputs of an image into a folder each, and knows which are there."""

    KINDS = ("mask", "depth", "cutout", "replaced")

    def __init__(self, out: Path, kinds: Sequence[str], scenery: np.ndarray | None = None) -> None:
        self.folder = out
        self.folders = {kind: make_folder(out / kind) for kind in kinds}
        self.scenery = scenery

    def paths(self, name: str) -> dict[str, Path]:
        """Where the outputs of an image are, by kind."""
        return {kind: folder / f"{name}.png" for kind, folder in self.folders.items()}

    def done(self, name: str) -> bool:
        """Whether all outputs of an image are there."""
        return all(path.is_file() for path in self.paths(name).values())

    def files(self) -> list[Path]:
        """All that is there."""
        return [path for folder in self.folders.values() for path in folder.glob("*.png")]

    def write(self, name: str, maps: Maps) -> None:
        """Write what is missing. Raises InputError as `files.write_whole`."""
        for kind, path in self.paths(name).items():
            if not path.is_file():
                write_png(path, self._picture(kind, maps))

    def _picture(self, kind: str, maps: Maps) -> np.ndarray:
        if kind == "mask":
            return quantised(maps.mask, np.uint8)
        if kind == "depth":
            return quantised(maps.depth, np.uint16)
        if kind == "cutout":
            return cut_out(maps.image, maps.mask, maps.background)
        assert self.scenery is not None
        return replace_background(maps.image, maps.mask, self.scenery, maps.background)


class Listing:
    """A CSV of all images with COLUMNS; rows of an earlier run are kept where `done(name)`.

    `order` has the numbers of the images, by which `sort` arranges the rows.
    """

    def __init__(self, path: Path, done: Callable[[str], bool]) -> None:
        self.path = path
        self.order: dict[str, int] = {}
        self._write([row for row in self._rows() if done(row[0])])

    def _rows(self) -> list[list[str]]:
        """Those that are there; the last one may have been cut short within a character."""
        if not self.path.is_file():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        rows = [row for row in csv.reader(io.StringIO(text)) if len(row) == len(COLUMNS)]
        return [row for row in rows if row != list(COLUMNS)]

    def _write(self, rows: list[list[str]]) -> None:
        write_whole(self.path, _lines([list(COLUMNS), *rows]).encode())

    def sort(self) -> None:
        """Put the rows in the images' order, which a call that went on may have left."""
        last = len(self.order)
        self._write(sorted(self._rows(), key=lambda row: self.order.get(row[0], last)))

    def add(self, name: str, share: float | None, problem: str) -> None:
        """Append a row. Raises InputError where it cannot be written."""
        row = [name, "" if share is None else f"{share:.4f}", problem]
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_lines([row]))
        except OSError as error:
            raise InputError(
                f"{self.path} could not be written ({error.strerror}): check the free space, then "
                "repeat."
            ) from None


def _lines(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_video(folder: Path, path: Path, rate: float) -> Path:
    """The pictures of `folder`, by name, as an MP4 without sound, whole or not at all.

    A picture of another size than the first is stretched to it. Raises InputError where the video
    cannot be written.
    """
    files = sorted(folder.glob("*.png"))
    first = read_rgb(files[0])
    partial = path.with_name(f"partial-{path.name}")
    partial.unlink(missing_ok=True)  # else a link would be followed
    size = (first.shape[1], first.shape[0])
    video = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    for file in files:
        frame = resize(read_rgb(file), first.shape[:2])
        video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    video.release()
    written = cv2.VideoCapture(str(partial)).get(cv2.CAP_PROP_FRAME_COUNT)
    if written != len(files):  # OpenCV does not say that the disk is full
        partial.unlink(missing_ok=True)
        raise InputError(f"{path} could not be written: check the free space, then repeat.")
    partial.replace(path)
    return path
