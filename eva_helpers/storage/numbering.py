"""Composites whose files have numbers: which background each belongs to."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eva_helpers.data import MAPS
from eva_helpers.files import InputError
from eva_helpers.images import picture_files
from eva_helpers.storage.agreement import NOISE, Agreement, Item

# The original project's folders, file names before the number, and composites of a background:
STEMS = {"background": "bg/bg", "image": "fg_bg/fg_bg"}
STEMS |= {"mask": "fg_bg_mask/fg_bg_mask", "depth": "depthmap/depth"}
FOLDERS = tuple(stem.split("/")[0] for stem in STEMS.values())
PER_BACKGROUND = 4000  # 100 cut-outs x 20 positions x {plain, flipped}
CHECKED = 200  # composites at most that are compared with their backgrounds

Files = dict[str, dict[int, Path]]


class Numbering(NamedTuple):
    """Composite n belongs to background first_background + (n - first) // per_background."""

    per_background: int
    first: int
    first_background: int

    def __str__(self) -> str:
        starts = f"composites from {self.first}, backgrounds from {self.first_background}"
        return f"{self.per_background:,} composites per background ({starts})"

    def background(self, number: np.ndarray) -> np.ndarray:
        """The backgrounds' numbers of composites."""
        return self.first_background + (number - self.first) // self.per_background


def numbered_items(
    folder: Path, per_background: int | None, agreement: Agreement
) -> tuple[list[Item], Numbering]:
    """The composites of the original project's layout, by number, and how they are numbered.

    `per_background` None: it is inferred from the photos.

    Raises:
        InputError: a file is missing, or no numbering makes images and backgrounds agree.
    """
    files = {name: _numbered(folder / stem) for name, stem in STEMS.items()}
    problem: InputError | None = None
    for numbering in _candidates(files, per_background, agreement):
        try:
            items = _items(folder, files, numbering)
            agreement.check(_at_borders(items), [*files["background"].values()])
            return items, numbering
        except InputError as error:
            problem = problem or error
    raise problem or InputError(f"{folder} has composites before the first background: renumber.")


def _numbered(stem: Path) -> dict[int, Path]:
    """The pictures STEM_N.* by their number N, in order."""
    pattern = re.compile(rf"{re.escape(stem.name)}_(\d+)", re.IGNORECASE)
    matches = ((pattern.fullmatch(path.stem), path) for path in picture_files(stem.parent))
    numbered = {int(match[1]): path for match, path in matches if match}
    if not numbered:
        raise InputError(
            f"{stem.parent} is missing, or holds no {stem.name}_1.jpg, {stem.name}_2.jpg ...: "
            f"expected the original project's folders {', '.join(FOLDERS)}, or a manifest.csv."
        )
    return dict(sorted(numbered.items()))


def _items(folder: Path, files: Files, numbering: Numbering) -> list[Item]:
    numbers = np.array([*files["image"]])
    items = []
    for number, background in zip(numbers.tolist(), numbering.background(numbers), strict=True):
        wanted = dict.fromkeys(MAPS, number) | {"background": int(background)}
        for name in MAPS:
            if wanted[name] not in files[name]:
                raise InputError(
                    f"{(folder / STEMS[name]).parent} has no file number {wanted[name]}, "
                    f"which {files['image'][number]} needs: add it or remove the composite."
                )
        items.append(Item(**{name: files[name][wanted[name]] for name in MAPS}))
    return items


def _at_borders(items: list[Item]) -> list[Item]:
    """The first and last composite of each background (of up to CHECKED / 2 backgrounds)."""
    last = [k for k, item in enumerate(items[:-1]) if item.background != items[k + 1].background]
    borders = sorted({0, *last, *(k + 1 for k in last), len(items) - 1})
    few = np.linspace(0, len(borders) - 1, min(CHECKED, len(borders)))
    return [items[borders[round(k)]] for k in few]


def _candidates(files: Files, per_background: int | None, agreement: Agreement) -> list[Numbering]:
    """Numberings from 1 or 0, with the composites per background that the photos suggest."""
    numbers = np.array([*files["image"]])
    backgrounds = np.array([*files["background"]])
    found = []
    for first in dict.fromkeys((1, 0, int(numbers[0]))):
        for first_background in dict.fromkeys((first, 1, 0, int(backgrounds[0]))):
            groups = int(backgrounds[-1]) - first_background + 1
            if first > numbers[0] or first_background > backgrounds[0] or groups < 1:
                continue
            total = int(numbers[-1]) - first + 1
            sizes = np.arange(-(-total // groups), max(total, PER_BACKGROUND) + 1)
            if per_background is not None:
                sizes = np.array([per_background])
            sizes = _narrow(files, agreement, Numbering(1, first, first_background), sizes)
            if len(sizes):
                size = PER_BACKGROUND if PER_BACKGROUND in sizes else int(sizes[0])
                found.append(Numbering(size, first, first_background))
    return found


def _narrow(files: Files, agreement: Agreement, start: Numbering, sizes: np.ndarray) -> np.ndarray:
    """Those of `sizes` (ascending composites per background) that fit the photos best.

    The background's number of a composite falls as the size grows. Composites for which the
    smallest and the largest remaining size differ are compared with the backgrounds in question.
    """
    numbers = np.intersect1d([*files["image"]], [*files["mask"]])
    for _ in range(CHECKED):
        ends = [
            start._replace(per_background=int(size)).background(numbers) for size in sizes[[0, -1]]
        ]
        differing = numbers[ends[0] != ends[1]]
        if not len(differing):
            break
        number = int(differing[len(differing) // 2])
        wanted = start.first_background + (number - start.first) // sizes
        image, mask = files["image"][number], files["mask"][number]
        costs = {
            background: agreement.misfit(image, mask, files["background"][background])
            for background in np.unique(wanted).tolist()
            if background in files["background"]
        }
        limit = 1.5 * min(costs.values(), default=0) + NOISE
        fitting = np.isin(wanted, [key for key, cost in costs.items() if cost <= limit])
        sizes = sizes[fitting]
        numbers = numbers[numbers != number]
        if not len(sizes):
            break
    return sizes
