"""A catalogue from real photographs, in the park's own form: a folder of yours, or two public data sets.

    python -m eva_helpers.photos OUT --folder MINE            MINE/bg: photos, MINE/fg: RGBA cut-outs (or photos, with MINE/fg_mask)
    python -m eva_helpers.photos OUT --download DATA          Oxford-IIIT Pet's dogs and Places365's parks, downloaded into DATA
    ... --depth                                               also label the backgrounds' depth with Depth-Anything-V2-Small

Every step can be interrupted and repeated: what is done stays. Without `--depth` and `--download` nothing is fetched from anywhere.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from eva_helpers.assets import ROOT, SPLITS, Catalogue, load_catalogue, resize, shape
from eva_helpers.folders import put
from eva_helpers.images import InputError, command_line, read_map, read_rgb, read_rgba, write_png

SIZE = 512  # longer side of what is stored: training crops are 64-280 px
SHARES = (0.7, 0.1, 0.2)  # of photos: train, validation, test
ALIKE = 6  # of 64 bits: pictures whose fingerprints differ by no more are the same photo, saved twice
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
PARKS = (
    "/p/park",
    "/l/lawn",
    "/y/yard",
    "/p/picnic_area",
    "/p/playground",
    "/f/field/cultivated",
    "/f/field/wild",
    "/p/pasture",
    "/g/golf_course",
)
PUBLIC = "pets+places"  # the two public data sets
LICENCES = {
    "folder": "yours",
    PUBLIC: "dogs: Oxford-IIIT Pet, CC BY-SA 4.0; parks: Places365, the photographs belong to their owners: do not redistribute",
}
DEPTH_MODEL = "depth-anything/Depth-Anything-V2-Small-hf"  # Apache-2.0; the larger ones are for non-commercial use only


@dataclass(frozen=True)
class Source:
    """One photo to be taken in: `read` returns uint8 RGB for a background and RGBA for a cut-out, or raises InputError."""

    kind: str  # "scenes" or "cutouts"
    name: str
    read: Callable[[], np.ndarray]


def of_folder(folder: str | os.PathLike) -> list[Source]:
    """Sources of `folder/bg` and `folder/fg`; a cut-out without transparency takes its mask from `folder/fg_mask/NAME.*`.

    Raises:
        InputError: one of the two folders is missing or empty.
    """
    folder, found = Path(folder), []
    for name, kind in (("bg", "scenes"), ("fg", "cutouts")):
        paths = sorted(p for p in (folder / name).iterdir() if p.is_file()) if (folder / name).is_dir() else []
        if not paths:
            raise InputError(f"{folder / name} holds no files: expected photos in {folder}/bg and cut-outs in {folder}/fg.")
        for path in paths:
            read = (lambda path=path: _photo(path)) if kind == "scenes" else (lambda path=path: _cutout(path, folder / "fg_mask"))
            found.append(Source(kind, path.name, read))
    return found


def _photo(path: Path) -> np.ndarray:
    if path.suffix.lower() not in PICTURES:
        raise InputError(f"{path} is no JPEG, PNG, WebP, BMP or TIFF: convert it (HEIC: save it as JPEG).")
    return read_rgb(path)


def _cutout(path: Path, masks: Path) -> np.ndarray:
    mask = next((p for p in sorted(masks.glob(f"{path.stem}.*"))), None) if masks.is_dir() else None
    try:
        return read_rgba(path)
    except InputError as error:
        if mask is None or "transparency" not in str(error):
            raise
    photo, alpha = _photo(path), read_map(mask)
    if alpha.shape != photo.shape[:2]:
        raise InputError(
            f"{mask} is {alpha.shape[1]}x{alpha.shape[0]}, but {path.name} {photo.shape[1]}x{photo.shape[0]}: they must match."
        )
    if not (alpha > 127).any():
        raise InputError(f"{mask} is empty: there is no object in it.")
    return np.dstack([photo, alpha.astype(np.uint8)])


def of_datasets(root: str | os.PathLike, download: bool = True, limit: int = 500) -> list[Source]:
    """Sources of Oxford-IIIT Pet (dogs, cut out with their trimaps) and Places365's small validation set (parks).

    torchvision fetches both and checks their checksums; an interrupted extraction is repeated from the archive.

    Raises:
        InputError: they are not in `root` and cannot be fetched, or what is there is damaged.
    """
    from torchvision import datasets

    if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later: an archive must not write outside its folder
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    root = Path(root)
    try:
        pets = _whole(root, ("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"), download, lambda fetch: datasets.OxfordIIITPet(
            str(root), "trainval", ["segmentation", "binary-category"], download=fetch
        ))  # fmt: skip
        places = _whole(root / "places", ("val_256",), download, lambda fetch: datasets.Places365(
            str(root / "places"), "val", small=True, download=fetch
        ))  # fmt: skip
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"the data sets are not in {root} and could not be fetched ({error}): connect to the network and repeat - what has been "
            "downloaded stays - or use photos of your own (--folder), or the embedded park, which needs no network."
        ) from None
    dogs = [n for n, kind in enumerate(pets._bin_labels) if kind == 1][:limit]
    wanted = {number for name, number in places.class_to_idx.items() if name in PARKS}
    parks = [path for path, number in places.imgs if number in wanted][:limit]
    found = [Source("scenes", Path(path).name, lambda path=path: read_rgb(path)) for path in parks]
    return found + [Source("cutouts", Path(pets._images[n]).stem, lambda n=n: from_trimap(pets._images[n], pets._segs[n])) for n in dogs]


def _whole(root: Path, folders: tuple[str, ...], download: bool, make: Callable):
    """The data set that `make(download)` gives; folders that an interrupted extraction left half full are extracted again."""
    mark = root / ".extracted"
    root.mkdir(parents=True, exist_ok=True)
    if download and not mark.exists():
        for folder in folders:
            shutil.rmtree(root / folder, ignore_errors=True)
    made = make(download and not mark.exists())
    if download:
        mark.touch()
    return made


def from_trimap(photo: str | os.PathLike, trimap: str | os.PathLike) -> np.ndarray:
    """A cut-out, RGBA, from a trimap (1 object, 2 background, 3 border): through the border the alpha falls evenly from 1 to 0."""
    rgb, classes = read_rgb(photo), read_map(trimap)
    if classes.shape != rgb.shape[:2]:
        raise InputError(f"{trimap} is {shape(classes)}, its photo {shape(rgb)}: they must match.")
    inside, outside = (classes != 1).astype(np.uint8), (classes != 2).astype(np.uint8)
    to_object, to_background = (cv2.distanceTransform(area, cv2.DIST_L2, 3) for area in (inside, outside))
    alpha = np.where(classes == 1, 1.0, np.where(classes == 2, 0.0, to_background / np.maximum(to_object + to_background, 1e-6)))
    if not (alpha > 0.5).any():
        raise InputError(f"{trimap} marks no object.")
    return np.dstack([rgb, np.rint(alpha * 255).astype(np.uint8)])


def fingerprint(picture: np.ndarray) -> int:
    """64 bits that survive resizing and compression: whether brightness grows from each of 8 x 9 patches to the next."""
    grey = cv2.resize(cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return int("".join("1" if bit else "0" for bit in (grey[:, 1:] > grey[:, :-1]).ravel()), 2)


def build(out: str | os.PathLike, sources: list[Source], name: str = "folder", seed: int = 0, progress: bool = False) -> Catalogue:
    """Take the photos into `out` and write its catalogue, split by photo; returns the catalogue.

    What cannot be used is left out and listed, with the reason, in `out/unusable.csv`; so are near-duplicates. A second call
    goes on where the first was interrupted, and keeps depth labels that are there.

    Raises:
        InputError: fewer than three usable photos of a kind (each split needs one), or a full disk.
    """
    out, bad, seen = Path(out), [], {"scenes": {}, "cutouts": {}}
    entries: dict[str, list[dict]] = {"scenes": [], "cutouts": []}
    for source in tqdm(sources, desc="photos", disable=not progress):
        target = out / source.kind / f"{Path(source.name).stem}.png"
        try:
            picture = _prepared(source, target)
            code = fingerprint(picture)
            twin = next((other for other, known in seen[source.kind].items() if (code ^ known).bit_count() <= ALIKE), None)
            if twin:
                raise InputError(f"it is nearly the same picture as {twin}")
        except InputError as error:
            bad.append((source.kind, source.name, str(error)))
            continue
        seen[source.kind][source.name] = code
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_png(target, picture)  # a full disk ends the work here; what is stored stays
        key = "scene" if source.kind == "scenes" else "object"
        entries[source.kind].append({"id": target.stem, key: target.stem, "image": f"{source.kind}/{target.name}"})
    for kind, items in entries.items():
        if len(items) < len(SPLITS):
            reasons = f"; the first: {bad[0][1]}: {bad[0][2]}" if bad else ""
            raise InputError(f"only {len(items)} usable {kind}: at least {len(SPLITS)} are needed{reasons}.")
        _split(items, seed)
    for entry in entries["scenes"]:
        depth = out / "depth" / f"{entry['id']}.png"
        entry["depth"] = f"depth/{depth.name}" if depth.exists() else None
    if bad:
        with (out / "unusable.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("kind", "file", "reason"), *bad])
    head = {"name": name, "licence": LICENCES.get(name, "unknown"), "z_near": 1.0, "depth_encoding": {"kind": "inverse"}}
    put(out / "catalogue.json", json.dumps(head | entries, indent=1).encode())
    return load_catalogue(out)


def _prepared(source: Source, target: Path) -> np.ndarray:
    """The picture at its stored size, an object cut to its outline; read from the file it was stored to, if it is there."""
    if target.exists():
        return read_rgba(target) if source.kind == "cutouts" else read_rgb(target)
    picture = source.read()
    if source.kind == "cutouts":
        rows, columns = np.flatnonzero(picture[..., 3].max(1) > 8), np.flatnonzero(picture[..., 3].max(0) > 8)
        picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(1.0, SIZE / max(picture.shape[:2]))
    picture = resize(picture, tuple(max(1, round(side * scale)) for side in picture.shape[:2]))
    if min(picture.shape[:2]) < 16:
        raise InputError(f"it is {shape(picture)} px: too small")
    return picture


def _split(items: list[dict], seed: int) -> None:
    """Give every photo its split: shuffled once, by SHARES, each split at least one."""
    order = np.random.default_rng(seed).permutation(len(items))
    held, test = (max(1, round(share * len(items))) for share in SHARES[1:])
    for place, number in enumerate(order):
        items[number]["split"] = "test" if place < test else "validation" if place < test + held else "train"


def estimator(model: str | os.PathLike = DEPTH_MODEL, revision: str | None = None) -> Callable[[list[np.ndarray]], Iterator[np.ndarray]]:
    """A pretrained depth model as a function: a list of uint8 RGB pictures to inverse depth maps (H, W) in [0, 1], near = 1 per image.

    Raises:
        InputError: transformers is not installed, or the model or revision is not there and cannot be fetched.
    """
    try:
        import torch
        from transformers import pipeline
    except ImportError:
        raise InputError("depth labels need the transformers package: pip install transformers.") from None
    try:
        run = pipeline("depth-estimation", model=str(model), revision=revision, device=0 if torch.cuda.is_available() else -1)
    except (OSError, ValueError) as error:
        what = f"{model}{f' (revision {revision})' if revision else ''}"
        raise InputError(
            f"the depth model {what} could not be loaded ({str(error).splitlines()[0]}): connect to the network once."
        ) from None

    def estimate(pictures: list[np.ndarray]) -> Iterator[np.ndarray]:
        for picture, answer in zip(pictures, run([Image.fromarray(p) for p in pictures], batch_size=len(pictures)), strict=True):
            depth = resize(answer["predicted_depth"].squeeze().float().numpy(), picture.shape[:2])
            yield (depth - depth.min()) / (np.ptp(depth) or 1.0)

    estimate.name = {"model": str(model), "revision": revision or getattr(run.model.config, "_commit_hash", None)}
    return estimate


def label_depth(out: str | os.PathLike, estimate: Callable, batch: int = 8, progress: bool = False) -> Catalogue:
    """Label the backgrounds of catalogue `out` that have no depth yet; each map is stored as 16-bit inverse depth when it is done.

    The object of a composite then gets a level in front of what it hides (see `compose.place_random`): the model sees every background
    once, not every composite.
    """
    out = Path(out)
    data = json.loads((out / "catalogue.json").read_text())
    todo = [entry for entry in data["scenes"] if not entry.get("depth")]
    for start in tqdm(range(0, len(todo), batch), desc="depth", disable=not progress):
        part = todo[start : start + batch]
        for entry, depth in zip(part, estimate([read_rgb(out / entry["image"]) for entry in part]), strict=True):
            path = out / "depth" / f"{entry['id']}.png"
            path.parent.mkdir(exist_ok=True)
            write_png(path, np.rint(depth * 65535).astype(np.uint16))
            entry["depth"] = f"depth/{path.name}"
        data["depth_labels"] = getattr(estimate, "name", {"model": "unknown"})
        put(out / "catalogue.json", json.dumps(data, indent=1).encode())
    return load_catalogue(out)


def open_catalogue(source: str | os.PathLike = "", home: str | os.PathLike | None = None) -> Catalogue:
    """The catalogue that a notebook's CATALOGUE means: what is not there yet is built under `home` (default: `data/` of the checkout).

    "" is the embedded park, and needs no network. "pets+places" fetches the public data sets and labels their depth. A folder is a
    catalogue, or photos of yours in `bg` and `fg`; those are labelled too, if the depth model can be had.

    Raises:
        InputError: the folder holds neither, or the data sets cannot be fetched; see `of_folder`, `of_datasets`, `build`.
    """
    home = Path(home) if home else ROOT / "data"
    if not source:
        return load_catalogue()
    if source != PUBLIC and (Path(source) / "catalogue.json").is_file():
        return load_catalogue(source)
    print(f"licence: {LICENCES[PUBLIC if source == PUBLIC else 'folder']}")
    if source == PUBLIC:
        out, sources, name = home / PUBLIC, of_datasets(home / "downloads"), PUBLIC
    else:
        out, sources, name = home / Path(source).resolve().name, of_folder(source), "folder"
    catalogue = build(out, sources, name, progress=True)
    if any(scene.depth is None for scene in catalogue.scenes):
        try:
            catalogue = label_depth(out, estimator(), progress=True)
        except InputError as error:
            print(f"no depth labels: {error} Masks can be trained without (DEPTH_WEIGHT 0).")
    return catalogue


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eva_helpers.photos", description="Build a catalogue from real photographs.")
    parser.add_argument("out", type=Path, help="folder of the new catalogue")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--folder", type=Path, help="your photos: bg/ and fg/ in it")
    where.add_argument("--download", type=Path, metavar="DATA", help="folder for the public data sets (about 1.3 GB)")
    parser.add_argument("--depth", action="store_true", help="label depth with a pretrained model (99 MB, fetched once)")
    parser.add_argument("--depth-model", default=DEPTH_MODEL, help="name or folder of the model (default: %(default)s)")
    parser.add_argument("--revision", help="of the depth model")
    parser.add_argument("--limit", type=int, default=500, help="photos of each kind from the public data sets")
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    options = parser.parse_args(arguments)
    name = "folder" if options.folder else PUBLIC
    print(f"licence: {LICENCES[name]}")
    sources = of_folder(options.folder) if options.folder else of_datasets(options.download, limit=options.limit)
    catalogue = build(options.out, sources, name, options.seed, progress=True)
    print(f"{len(catalogue.scenes)} backgrounds and {len(catalogue.cutouts)} cut-outs in {options.out}")
    if (options.out / "unusable.csv").exists():
        print(f"left out: see {options.out / 'unusable.csv'}")
    if options.depth:
        label_depth(options.out, estimator(options.depth_model, options.revision), progress=True)


if __name__ == "__main__":
    sys.exit(main())
