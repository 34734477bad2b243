"""Whether composites, their backgrounds and their masks belong together."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eva_helpers.files import InputError
from eva_helpers.images import open_picture, read_mask, resize, to_rgb, white_level

SIDE = 48  # px of the copies that are compared
NOISE = 3.0  # of 255: differences of means that stand for nothing
CLOSE = 8.0  # of 255: mean difference up to which a photo and a background certainly agree
TOLERATED = 0.05  # of the composites
LEAST = 0.05  # of the copy: areas that are compared
REMEDY = "give the composites of each background (per_background), or a manifest.csv"


class Item(NamedTuple):
    """The files of one sample."""

    background: Path
    image: Path
    mask: Path
    depth: Path


class Agreement:
    """Compares composites with backgrounds outside their objects, on small copies.

    `white` is the value of white of those photos seen so far that have more than 8 bits.
    """

    def __init__(self) -> None:
        self.white: float | None = None
        self._photos: dict[Path, np.ndarray] = {}
        self._masks: dict[Path, np.ndarray] = {}

    def photo(self, path: Path) -> np.ndarray:
        """A small copy, float32 (SIDE, SIDE, 3)."""
        if path not in self._photos:
            picture = open_picture(path, at_least=SIDE)
            white = white_level(picture)
            self.white = max(self.white or 0, white) if white else self.white
            self._photos[path] = resize(to_rgb(picture), (SIDE, SIDE)).astype(np.float32)
        return self._photos[path]

    def mask(self, path: Path) -> np.ndarray:
        """A small copy of the mask as if it were not inverted, float32 (SIDE, SIDE)."""
        if path not in self._masks:
            stored = read_mask(path, at_least=SIDE, inverted=False)
            self._masks[path] = resize(stored, (SIDE, SIDE))
        return self._masks[path]

    def misfit(self, image: Path, mask: Path, background: Path | np.ndarray) -> float:
        """How much image and background differ outside the object, in grey levels of 255.

        A difference in exposure counts a quarter. Of the mask's dark and bright part, the one
        that agrees better is taken as outside: files do not say which is the object.
        """
        other = background if isinstance(background, np.ndarray) else self.photo(background)
        difference = self.photo(image) - other
        coverage = self.mask(mask)
        costs = []
        for part in (coverage < 0.02, coverage > 0.98):
            if part.mean() >= LEAST:
                values = difference[part]
                shift = np.median(values, axis=0)
                costs.append(np.abs(values - shift).mean() + 0.25 * np.abs(shift).mean())
        return float(min(costs, default=0.0))

    def check(self, items: Sequence[Item], backgrounds: Sequence[Path]) -> None:
        """Raise InputError unless `items` agree with their backgrounds.

        Each must agree better than with the neighbours and some others of `backgrounds`, and than
        with its own mirrored. One that agrees with another background is refused; of those that
        agree with none, which strong differences between the shots explain, TOLERATED may be.
        """
        unlike = []
        place = {background: number for number, background in enumerate(backgrounds)}
        spread = backgrounds[:: max(1, len(backgrounds) // 4)]
        for item in items:
            number = place[item.background]
            others = {*backgrounds[max(0, number - 2) : number + 3], *spread} - {item.background}
            if not self._agrees(item, sorted(others)):
                unlike.append(item)
        if len(unlike) > TOLERATED * len(items):
            raise _no_agreement(unlike[0], "")

    def _agrees(self, item: Item, others: list[Path]) -> bool:
        """Whether an item agrees with its background; InputError: with one of `others` instead."""
        own = self.misfit(item.image, item.mask, item.background)
        costs = {other: self.misfit(item.image, item.mask, other) for other in others}
        best = min(costs, key=lambda other: costs[other], default=None)
        if best and own > 1.5 * costs[best] + NOISE and costs[best] <= CLOSE:
            raise _no_agreement(item, f", but agrees with {best.name}")
        photo = self.photo(item.background)
        mirrored = [
            self.misfit(item.image, item.mask, turned) for turned in (photo[::-1], photo[:, ::-1])
        ]
        return own <= max(CLOSE, 0.6 * float(np.median([*costs.values(), *mirrored])))

    def inverted(self, items: Iterable[Item]) -> bool | None:
        """Whether the masks are dark where the object is; None where the photos do not tell.

        Raises:
            InputError: some are, some are not.
        """
        votes: dict[bool, list[Path]] = {False: [], True: []}
        for item in items:
            change = np.abs(self.photo(item.image) - self.photo(item.background)).mean(-1)
            bright = self.mask(item.mask) > 0.5
            if bright.any() and not bright.all():
                inside, outside = change[bright].mean(), change[~bright].mean()
                if max(inside, outside) > 1.5 * min(inside, outside) + NOISE:
                    votes[bool(outside > inside)].append(item.mask)
        fewer, more = sorted(votes, key=lambda way: len(votes[way]))
        if 5 * len(votes[fewer]) > len(votes[more]) > 0:
            raise InputError(
                f"{votes[False][0]} is bright where its image differs from the background, "
                f"{votes[True][0]} is dark there: expected all masks bright on the object; "
                "invert the others, or correct the manifest."
            )
        return more if votes[more] else None


def _no_agreement(item: Item, but: str) -> InputError:
    return InputError(
        f"{item.image} does not agree with {item.background} outside its mask{but}: "
        f"expected the background it was made of; {REMEDY}."
    )
