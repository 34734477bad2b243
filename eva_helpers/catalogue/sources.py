"""Photo files to build a catalogue from: a folder of photos, or a photo and its trimap."""

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from eva_helpers.catalogue.reading import same_size
from eva_helpers.files import InputError, checked_path, paths_in
from eva_helpers.images import (
    is_picture,
    open_image,
    picture_files,
    read_map,
    read_mask,
    read_rgb,
    read_rgba,
)

SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # besides hidden files: no user put them there
MASK_WORDS = {"mask", "masks", "fgmask", "fgmasks"}  # in the names of mask files and folders
HIDDEN = 0.01  # of the pixels: a cut-out's alpha hides at least as many


@dataclass(frozen=True)
class PhotoFile:
    """A photo for a catalogue: `kind` is "scenes" (uint8 RGB) or "cutouts" (RGBA).

    `reader(*files)` reads it, from the photo and perhaps its mask.
    """

    kind: str
    name: str
    reader: Callable[..., np.ndarray]
    files: tuple[Path, ...]

    def read(self) -> np.ndarray:
        """The picture, uint8 (H, W, 3 or 4). Raises InputError if it cannot be used."""
        return self.reader(*self.files)

    def content(self) -> str:
        """A hash of the files' contents and of how they are read.

        Raises InputError if a file cannot be read.
        """
        try:
            parts = [hashlib.sha256(path.read_bytes()).digest() for path in self.files]
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read ({error.strerror}): expected a picture file."
            ) from None
        return hashlib.sha256(b"".join([self.reader.__name__.encode(), *parts])).hexdigest()


def photos_of_folder(folder: str | os.PathLike) -> list[PhotoFile]:
    """The photos in `folder/bg` and the cut-outs in `folder/fg`.

    A photo in `fg` without transparency takes its mask from `fg_mask`, `fg_masks`, `mask` or
    `masks`, or from `fg`: the picture of the same name, but for the words "fg" and "mask".

    Raises:
        InputError: one of the two folders is missing or empty.
    """
    folder = checked_path(folder)
    photos = []
    for kind, name in (("scenes", "bg"), ("cutouts", "fg")):
        files = [path for path in paths_in(folder, f"{name}/*") if not _of_system(path)]
        if not files:
            expected = f"expected photos in {folder}/bg and cut-outs in {folder}/fg"
            raise InputError(f"{folder / name} holds no files: {expected}.")
        own_masks = _masks_among(files)
        paths = [path for path in files if path not in own_masks]
        masks = _masks_of(paths, _mask_files(folder) + own_masks) if name == "fg" else {}
        reader = _read_object if name == "fg" else read_rgb
        for path in paths:
            chosen = reader if is_picture(path) else _refuse
            photos.append(PhotoFile(kind, path.name, chosen, (path, *masks.get(path, ()))))
        refused = own_masks if name == "bg" else []
        photos += [PhotoFile(kind, path.name, _refuse_mask, (path,)) for path in refused]
    return photos


def _of_system(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in SYSTEM_FILES


def stem(path: Path) -> str:
    """The name without suffixes of pictures, as "dog" of "Dog.jpg.png", in one Unicode form."""
    while is_picture(path):
        path = path.with_suffix("")
    return unicodedata.normalize("NFC", path.name.casefold())


def _words(path: Path) -> list[str]:
    words = [word for word in re.split(r"[\s_.-]+", stem(path)) if word]
    return [str(int(word)) if word.isdecimal() else word for word in words]


def _key(path: Path) -> tuple[str, ...]:
    """What the names of a photo and its mask share: ("dog", "9") of fg_mask_dog_09.png."""
    return tuple(word for word in _words(path) if word not in MASK_WORDS | {"fg"})


def _mask_files(folder: Path) -> list[Path]:
    """The pictures in the folders that are called "mask", "fg_masks" or so."""
    named = [path for path in sorted(folder.glob("*")) if _words(path) != ["fg"] and not _key(path)]
    return [path for sub in named for path in picture_files(sub)]


def _masks_among(paths: list[Path]) -> list[Path]:
    """The pictures that are named as the mask of another one."""
    masks = [path for path in filter(is_picture, paths) if MASK_WORDS.intersection(_words(path))]
    photos = {_key(path) for path in paths if path not in masks}
    return [path for path in masks if _key(path) in photos]


def _masks_of(photos: list[Path], masks: list[Path]) -> dict[Path, list[Path]]:
    """The masks of each photo: those of its stem, and of its key where no other photo has it."""
    stems = defaultdict(list)
    keys = defaultdict(list)
    for photo in photos:
        stems[stem(photo)].append(photo)
        keys[_key(photo)].append(photo)
    found = defaultdict(list)
    for mask in masks:
        alike = keys[_key(mask)]
        for photo in stems[stem(mask)] or (alike if len(alike) == 1 else []):
            found[photo].append(mask)
    return found


def _refuse(path: Path) -> np.ndarray:
    raise InputError(f"{path} is not of a kind that can be read: convert it to JPEG or PNG.")


def _refuse_mask(path: Path) -> np.ndarray:
    raise InputError(f"{path} is named as the mask of a background: move it, or rename it.")


def _read_object(path: Path, *masks: Path) -> np.ndarray:
    """A cut-out, or a photo with its mask as alpha: uint8 RGBA (H, W, 4)."""
    picture = open_image(path)
    if picture.has_transparency_data:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        if (alpha < 128).mean() > HIDDEN:
            return read_rgba(path)
    if not masks:
        raise InputError(
            f"{path} has no transparency that hides its background, and no mask: "
            f"save a cut-out with alpha, or its mask as {path.stem}.png in the folder fg_mask."
        )
    if len(masks) > 1:
        names = " and ".join(f"{mask.parent.name}/{mask.name}" for mask in masks)
        raise InputError(f"{path} has the masks {names}: keep one of them.")
    rgb = read_rgb(path)
    mask = read_mask(masks[0])
    same_size(masks[0], mask, path.name, rgb)
    if not (mask > 0.5).any():
        raise InputError(f"{masks[0]} is empty: mark the object in white.")
    return np.dstack([rgb, np.rint(mask * 255).astype(np.uint8)])


def from_trimap(photo: str | os.PathLike, trimap: str | os.PathLike) -> np.ndarray:
    """A cut-out, uint8 RGBA (H, W, 4), from a trimap (1 object, 2 background, 3 border).

    Across the border, alpha falls from 1 to 0 by the distances to object and background. Raises
    InputError if the sizes differ or no object is marked.
    """
    rgb = read_rgb(photo)
    classes = read_map(trimap)
    same_size(trimap, classes, "its photo", rgb)
    to_object, to_background = (
        cv2.distanceTransform((classes != known).astype(np.uint8), cv2.DIST_L2, 3)
        for known in (1, 2)
    )
    alpha = to_background / np.maximum(to_object + to_background, 1e-6)
    if not (alpha > 0.5).any():
        raise InputError(f"{trimap} marks no object: expected pixels of value 1.")
    return np.dstack([rgb, np.rint(alpha * 255).astype(np.uint8)])
