"""Two photos -> mask and depth: `Predictor`, and `predict_images` as in the original project."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from eva_helpers.files import InputError, checked_path, writable_folder, write_whole
from eva_helpers.images import (
    Picture,
    as_picture,
    resize,
    size_text,
    to_rgb,
    white_level,
    write_png,
)
from eva_helpers.paths import WEIGHTS
from eva_helpers.predict.pairing import PairCheck, align_background, check_pair
from eva_helpers.schemas import MIN_SIDE

if TYPE_CHECKING:  # slow to import: errors in the photos' paths come first
    from matplotlib.figure import Figure

    from eva_helpers.model import MaskDepthNet

INPUT_SIZE = 224  # px of the longer side in the network, which was trained on 64 to 224 px
STRIP = 64  # rows that are quantised at a time: large maps need no float copy
LONGEST = 100  # of the shorter side: copies for the check of the pair keep a few pixels
SAME_SHAPE = 0.02  # aspect ratios that differ by less show the same frame at another size

Photo = np.ndarray | Image.Image | str | os.PathLike


@dataclass(frozen=True)
class Prediction:
    """The result for one pair, at the image's own size.

    Attributes:
        background: uint8 RGB (H, W, 3), resized and aligned where asked for; `image` likewise.
        mask: float32 (H, W), the probability that the object covers the pixel.
        depth: float32 (H, W) in [0, 1], inverse depth: near = 1, infinitely far = 0.
        check: whether the two photos fit together; `check.verdict` says it in a sentence.
    """

    background: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    check: PairCheck

    def show(self) -> Figure:
        """Background, image, mask and depth side by side, as a pyplot figure."""
        from eva_helpers.plots.pictures import panels

        return panels(self.background, self.image, self.mask, self.depth)

    def save(self, folder: str | os.PathLike) -> list[Path]:
        """Write `mask.png` (8 bit), `depth.png` (16 bit, near = bright) and `panel.png`.

        Raises:
            InputError: one of them exists (nothing is overwritten), or the folder is unusable.
        """
        from eva_helpers.plots.pictures import panels

        mask, depth, panel = output_files(folder)
        figure = panels(self.background, self.image, self.mask, self.depth, pyplot=False)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120, bbox_inches="tight")
        figure.clear()  # else its cycles keep the pictures until a full garbage collection
        write_png(mask, quantised(self.mask, np.uint8))
        write_png(depth, quantised(self.depth, np.uint16))
        return [mask, depth, write_whole(panel, picture.getvalue())]


def output_files(folder: str | os.PathLike) -> list[Path]:
    """Paths of mask, depth and panel in `folder`, which is made.

    Raises:
        InputError: one of them exists, or no file can be written there.
    """
    paths = [checked_path(folder) / f"{name}.png" for name in ("mask", "depth", "panel")]
    for path in paths:
        if os.path.lexists(path):
            raise InputError(f"{path} exists and is not overwritten: choose another folder.")
    writable_folder(folder)
    return paths


def quantised(values: np.ndarray, kind: type[np.unsignedinteger]) -> np.ndarray:
    """A map in [0, 1] as whole numbers up to the largest of `kind`."""
    made = np.empty(values.shape, kind)
    for row in range(0, len(values), STRIP):
        made[row : row + STRIP] = np.rint(values[row : row + STRIP] * np.iinfo(kind).max)
    return made


class Predictor:
    """Predicts with a copy of `net`, coarse to fine (see `refinement.passes`).

    The whole frame is seen at `size` px or less of the longer side.
    """

    def __init__(self, net: MaskDepthNet, size: int = INPUT_SIZE) -> None:
        from eva_helpers.refinement import CoarseToFine

        self.passes = CoarseToFine(net, size)

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> Predictor:
        """With the shipped weights, or those of `path`. Raises InputError as `load_weights`."""
        from eva_helpers.model.weights import load_weights

        return cls(load_weights(path or WEIGHTS))

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, revision: str | None = None) -> Predictor:
        """From a folder, or a hub's "owner/name"; errors as `hub.load_pretrained`."""
        from eva_helpers.predict.hub import load_pretrained

        return cls(load_pretrained(name, revision))

    def push_to_hub(self, name: str, folder: str | os.PathLike, private: bool = False) -> str:
        """Write the network into `folder` and upload it to "owner/name"; see `hub.push`."""
        from eva_helpers.predict.hub import push

        return push(self.passes.net, name, folder, private)

    def __call__(
        self, background: Photo, image: Photo, *, resize: bool = False, align: bool = False
    ) -> Prediction:
        """Predict for uint8 RGB arrays (H, W, 3), PIL images or paths; errors as `load_pair`.

        `resize` stretches a background of another shape to the image's size. `align` moves and
        brightens the background to match the image, if the check of the pair finds problems.
        """
        scene, photo = load_pair(background, image, force=resize)
        check = check_pair(scene, photo)
        if align and check.problems:
            scene = align_background(scene, check, photo)
        mask, depth = self.passes.maps(scene, photo)
        return Prediction(scene, photo, mask, depth, check)


def load_pair(
    background: Photo, image: Photo, force: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Background and image as uint8 RGB (H, W, 3), both of the image's size.

    Raises:
        InputError: a photo is unusable, or their shapes differ and `force` is False.
    """
    names = [_name(background, "the background"), _name(image, "the image")]
    pictures = [as_picture(*each) for each in zip((background, image), names, strict=True)]
    white = white_level(*pictures)  # one for both, so that they are scaled alike
    scene, photo = (_as_rgb(pictures.pop(0), name, white) for name in names)
    scene_name, name = names
    ratio = (scene.shape[1] / scene.shape[0]) / (photo.shape[1] / photo.shape[0])
    if abs(ratio - 1) > SAME_SHAPE and not force:
        raise InputError(
            f"{scene_name} is {size_text(scene)} and {name} is {size_text(photo)}: the two must "
            "show the same frame; retake or crop one of them, or pass resize=True (--resize) to "
            "stretch the background."
        )
    return resize(scene, photo.shape[:2]), photo


def _name(photo: Photo, otherwise: str) -> str:
    """What messages call a photo."""
    return str(photo) if isinstance(photo, (str, os.PathLike)) else otherwise


def _as_rgb(picture: Picture, name: str, white: float | None) -> np.ndarray:
    """Any picture as uint8 RGB (H, W, 3), large enough for the network; see `to_rgb`."""
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.shape[2:] == (3,):
        photo = picture
    else:
        photo = to_rgb(picture, white)
    if min(photo.shape[:2]) < max(MIN_SIDE, max(photo.shape[:2]) / LONGEST):
        least = f"at least {MIN_SIDE} px a side, and a longer side of {LONGEST} times that at most"
        raise InputError(f"{name} is {size_text(photo)}: expected {least}; use another photo.")
    return photo


def predict_images(
    modelpath: str | os.PathLike | None, filepath: str | os.PathLike, bg: str, image: str
) -> Prediction:
    """Predict for the files `bg` and `image` in the folder `filepath`; the original project's call.

    Shows background, image, mask and depth, and prints what is wrong with the pair, if anything.
    """
    import matplotlib.pyplot as plt

    paths = [checked_path(filepath) / checked_path(name) for name in (bg, image)]
    prediction = Predictor.load(modelpath)(*paths)
    if prediction.check.problems:
        print(prediction.check.verdict)
    figure = prediction.show()
    plt.show()
    if not plt.isinteractive():  # else its window is still open
        plt.close(figure)
    return prediction
