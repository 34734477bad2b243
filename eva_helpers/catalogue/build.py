"""Building a catalogue from photo files: usable photos are stored as PNG and split."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from eva_helpers.catalogue.catalogue import SPLITS, Catalogue, load_catalogue
from eva_helpers.catalogue.public_data import PUBLIC
from eva_helpers.catalogue.sources import PhotoFile
from eva_helpers.files import InputError, make_folder, write_json, write_whole
from eva_helpers.images import read_rgb, read_rgba, resize, size_text, write_png

MAX_SIDE = 512  # px of a stored picture: training crops are 64-280 px
VALIDATION = 0.1  # share of the photos
TEST = 0.2
DUPLICATE = 6  # of 64 bits: photos whose hashes differ in no more are the same photo, saved twice
LICENCES = {
    "folder": "yours",
    PUBLIC: "dogs: Oxford-IIIT Pet, CC BY-SA 4.0; parks: Places365, the photographs belong to "
    "their owners: do not redistribute",
}


def perceptual_hash(picture: np.ndarray) -> int:
    """Difference hash: 64 bits of uint8 RGB[A] (H, W, C) that survive resizing and compression.

    Each bit tells whether brightness increases from one of 8 x 9 patches to the next.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)
    patches = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(patches[:, 1:] > patches[:, :-1]).tobytes())


def build_catalogue(
    out: str | os.PathLike,
    photos: list[PhotoFile],
    name: str = "folder",
    seed: int = 0,
    progress: bool = False,
) -> Catalogue:
    """Store the usable `photos` in `out` and write its catalogue, split by photo.

    Photos that are unusable or near-duplicates are listed in `out/unusable.csv` with the reason.
    A second call continues an interrupted one, and keeps existing depth labels.

    Raises:
        InputError: a kind has fewer than three usable photos, or `out` cannot be written.
    """
    out = Path(out)
    entries = {}
    unusable = [("kind", "file", "reason")]
    for kind in ("scenes", "cutouts"):
        chosen = [photo for photo in photos if photo.kind == kind]
        shown = tqdm(chosen, desc=kind, disable=not progress)
        entries[kind] = _store(out, shown, unusable)
        if len(entries[kind]) < len(SPLITS):
            first = "".join(f"; the first: {file}: {reason}" for _, file, reason in unusable[1:2])
            found = f"only {len(entries[kind])} usable {kind}"
            raise InputError(f"{found}: at least {len(SPLITS)} are needed{first}.")
        _assign_splits(entries[kind], seed)
    for entry in entries["scenes"]:
        depth = f"depth/{entry['id']}.png"
        entry["depth"] = depth if (out / depth).exists() else None
    if len(unusable) > 1:
        table = io.StringIO()
        csv.writer(table).writerows(unusable)
        write_whole(out / "unusable.csv", table.getvalue().encode())
    head = {"name": name, "licence": LICENCES.get(name, "unknown"), "z_near": 1.0}
    write_json(out / "catalogue.json", head | {"depth_encoding": {"kind": "inverse"}} | entries)
    return load_catalogue(out)


def _store(out: Path, photos: Iterable[PhotoFile], unusable: list[tuple]) -> list[dict]:
    """Store usable photos of one kind and return their entries; the others go to `unusable`."""
    entries = []
    hashes: dict[str, int] = {}
    for photo in photos:
        target = out / photo.kind / f"{Path(photo.name).stem}.png"
        try:
            picture = _prepare(photo, target)
            code = perceptual_hash(picture)
            for twin, known in hashes.items():
                if (code ^ known).bit_count() <= DUPLICATE:
                    raise InputError(f"it is nearly the same picture as {twin}")
        except InputError as error:
            unusable.append((photo.kind, photo.name, str(error)))
            continue
        hashes[photo.name] = code
        if not target.exists():  # a full disk ends the work here; what is stored stays
            write_png(make_folder(target.parent) / target.name, picture)
        group = "scene" if photo.kind == "scenes" else "object"
        image = f"{photo.kind}/{target.name}"
        entries.append({"id": target.stem, group: target.stem, "image": image})
    return entries


def _prepare(photo: PhotoFile, target: Path) -> np.ndarray:
    """The photo, at most MAX_SIDE large, cropped to the object; `target`'s picture if it exists."""
    if target.exists():
        return read_rgba(target) if photo.kind == "cutouts" else read_rgb(target)
    picture = photo.read()
    if photo.kind == "cutouts":
        left, top, width, height = cv2.boundingRect((picture[..., 3] > 8).astype(np.uint8))
        picture = picture[top : top + height, left : left + width]
    scale = min(1.0, MAX_SIDE / max(picture.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    picture = resize(picture, (height, width))
    if min(height, width) < 16:
        raise InputError(f"it is {size_text(picture)} px: too small, 16 px a side are needed")
    return picture


def _assign_splits(items: list[dict], seed: int) -> None:
    """Shuffle once and give every photo its split; each split gets at least one."""
    test = max(1, round(TEST * len(items)))
    held_out = test + max(1, round(VALIDATION * len(items)))
    for place, number in enumerate(np.random.default_rng(seed).permutation(len(items))):
        split = "test" if place < test else "validation" if place < held_out else "train"
        items[number]["split"] = split
