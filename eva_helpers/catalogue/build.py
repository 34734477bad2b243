"""Building a catalogue from photo files: usable photos are stored as PNG and split."""

import csv
import io
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tqdm import tqdm

from eva_helpers.catalogue.catalogue import SPLITS, Catalogue, load_catalogue
from eva_helpers.catalogue.duplicates import Duplicates
from eva_helpers.catalogue.public_data import PUBLIC
from eva_helpers.catalogue.sources import PhotoFile, stem
from eva_helpers.files import (
    InputError,
    make_folder,
    read_json,
    writable_folder,
    write_json,
    write_whole,
)
from eva_helpers.images import read_rgb, read_rgba, resize, size_text
from eva_helpers.partials import remove_partials

MAX_SIDE = 512  # px of a stored picture: training crops are 64-280 px
VALIDATION = 0.1  # share of the photos
TEST = 0.2
LICENCES = {
    "folder": "yours",
    PUBLIC: "dogs: Oxford-IIIT Pet, CC BY-SA 4.0; parks: Places365, the photographs belong to "
    "their owners: do not redistribute",
}
NAMES = {"scenes": "backgrounds", "cutouts": "cut-outs"}
Refused = tuple[str, str, str]  # kind, file, reason


def build_catalogue(
    out: str | os.PathLike,
    photos: list[PhotoFile],
    name: str = "folder",
    seed: int = 0,
    progress: bool = False,
) -> Catalogue:
    """Store the usable `photos` in `out` and write its catalogue, split by photo.

    Photos that are unusable or near-duplicates are listed in `out/unusable.csv` with the reason.
    A second call continues an interrupted one, or follows the source: a photo whose files have
    changed is stored again and loses its depth label; one that is gone is removed.

    Raises:
        InputError: a kind has fewer than three usable photos, or `out` cannot be written or holds
            the catalogue of another source.
    """
    out = writable_folder(out)
    head = _head(out, photos, name)
    pictures = [f"{kind}/*.png" for kind in ("scenes", "cutouts", "depth")]
    remove_partials(out, "catalogue.json", "unusable.csv", *pictures)
    entries = {}
    unusable: list[Refused] = []
    for kind in ("scenes", "cutouts"):
        chosen = [photo for photo in photos if photo.kind == kind]
        entries[kind], refused = _store(out, chosen, progress)
        unusable += refused
        _write_unusable(out / "unusable.csv", unusable)
        if len(entries[kind]) < len(SPLITS):
            first = "".join(f"; the first: {file}: {reason}" for _, file, reason in refused[:1])
            found = f"usable {NAMES[kind]}: {len(entries[kind])}"
            least = f"at least {len(SPLITS)}, one for each of {', '.join(SPLITS)}"
            raise InputError(f"{found}; expected {least}{first}.")
        _assign_splits(entries[kind], seed)
    for entry in entries["scenes"]:
        depth = f"depth/{entry['id']}.png"
        entry["depth"] = depth if (out / depth).exists() else None
    labels = {key: head.pop(key) for key in ("depth_labels",) if key in head}
    write_json(out / "catalogue.json", head | entries | labels)  # where `label_depth` adds them
    _remove_others(out, entries)
    return load_catalogue(out)


def _head(out: Path, photos: list[PhotoFile], name: str) -> dict:
    """What `catalogue.json` says of the whole. Raises InputError if `out` has another source."""
    folders = {path.parent.resolve() for photo in photos for path in photo.files}
    source = os.path.commonpath(folders) if folders and name != PUBLIC else name
    head = {"name": name, "licence": LICENCES.get(name, "unknown"), "z_near": 1.0}
    head |= {"depth_encoding": {"kind": "inverse"}, "source": source}
    path = out / "catalogue.json"
    earlier = read_json(path) if path.exists() else head
    whose = earlier.get("source", earlier.get("name")) if isinstance(earlier, dict) else None
    if whose != source:
        raise InputError(
            f"{out} holds the catalogue of {whose}, not of {source}: "
            "choose another folder, or remove it."
        )
    return head | {key: earlier[key] for key in ("depth_labels",) if key in earlier}


def _store(out: Path, photos: list[PhotoFile], progress: bool) -> tuple[list[dict], list[Refused]]:
    """Store the usable photos of one kind: their entries, and the others."""
    entries = []
    refused = []
    stored = Duplicates()
    names = Counter(stem(Path(photo.name)) for photo in photos)
    for photo in tqdm(photos, desc=photos[0].kind if photos else "", disable=not progress):
        shared = names[stem(Path(photo.name))] > 1  # a.jpg and a.png keep their suffixes
        key = photo.name if shared else Path(photo.name).stem
        target = out / photo.kind / f"{key}.png"
        try:
            content = photo.content()
            current = _content(target) == content
            picture = _stored(photo, target) if current else _prepare(photo)
            twin = stored.add(photo.name, picture)
            if twin:
                raise InputError(f"it is nearly the same picture as {twin}")
        except InputError as error:
            refused.append((photo.kind, photo.name, str(error)))
            continue
        if not current:  # a full disk ends the work here; what is stored stays
            _write(target, picture, content)
        group = "scene" if photo.kind == "scenes" else "object"
        entries.append({"id": key, group: key, "image": f"{photo.kind}/{target.name}"})
    return entries, refused


def _prepare(photo: PhotoFile) -> np.ndarray:
    """The photo, at most MAX_SIDE large; a cut-out is cropped to the object."""
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


def _stored(photo: PhotoFile, target: Path) -> np.ndarray:
    return read_rgba(target) if photo.kind == "cutouts" else read_rgb(target)


def _write(target: Path, picture: np.ndarray, content: str) -> None:
    """Write the PNG with the hash of its source; a depth label of its predecessor is removed."""
    if target.parent.name == "scenes":
        (target.parents[1] / "depth" / target.name).unlink(missing_ok=True)
    note = PngInfo()
    note.add_text("source", content)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", pnginfo=note)
    write_whole(make_folder(target.parent) / target.name, buffer.getvalue())


def _content(target: Path) -> str | None:
    """The hash of the source of a stored picture; None if there is none."""
    try:
        with Image.open(target, formats=["PNG"]) as picture:
            return picture.info.get("source")
    except (OSError, SyntaxError, ValueError):
        return None


def _remove_others(out: Path, entries: dict[str, list[dict]]) -> None:
    """Remove stored pictures that have no entry, with their depth labels."""
    used = {entry["image"] for kind in entries.values() for entry in kind}
    for kind in entries:
        for path in out.glob(f"{kind}/*.png"):
            if f"{kind}/{path.name}" not in used and _content(path):
                if kind == "scenes":
                    (out / "depth" / path.name).unlink(missing_ok=True)
                path.unlink()


def _write_unusable(path: Path, unusable: list[Refused]) -> None:
    """List the photos that were left out; no list where there are none."""
    if not unusable:
        path.unlink(missing_ok=True)
        return
    table = io.StringIO()
    csv.writer(table).writerows([("kind", "file", "reason"), *unusable])
    write_whole(path, table.getvalue().encode(errors="backslashreplace"))


def _assign_splits(items: list[dict], seed: int) -> None:
    """Shuffle once and give every photo its split; each split gets at least one."""
    test = max(1, round(TEST * len(items)))
    held_out = test + max(1, round(VALIDATION * len(items)))
    for place, number in enumerate(np.random.default_rng(seed).permutation(len(items))):
        split = "test" if place < test else "validation" if place < held_out else "train"
        items[number]["split"] = split
