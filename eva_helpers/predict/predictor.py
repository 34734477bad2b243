"""Two photos -> mask and depth: `Predictor`, and `predict_images` as in the original project."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from eva_helpers.files import InputError, make_folder, write_whole
from eva_helpers.images import MIN_SIDE, read_rgb, resize, size_text, to_rgb, write_png
from eva_helpers.paths import WEIGHTS
from eva_helpers.predict.pairing import PairCheck, align_background, check_pair

if TYPE_CHECKING:  # slow to import: errors in the photos' paths come first
    from matplotlib.figure import Figure
    from torch import nn

INPUT_SIZE = 224  # px of the longer side in the network, which was trained on 64 to 224 px
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
        import matplotlib.pyplot as plt

        mask, depth, panel = (Path(folder) / f"{name}.png" for name in ("mask", "depth", "panel"))
        for path in (mask, depth, panel):
            if path.exists():
                raise InputError(f"{path} exists and is not overwritten: choose another folder.")
        make_folder(Path(folder))
        figure = self.show()
        picture = io.BytesIO()
        figure.savefig(picture, dpi=120, bbox_inches="tight")
        plt.close(figure)
        write_png(mask, np.rint(self.mask * 255).astype(np.uint8))
        write_png(depth, np.rint(self.depth * 65535).astype(np.uint16))
        return [mask, depth, write_whole(panel, picture.getvalue())]


class Predictor:
    """Predicts with a copy of `net`, at `size` px or less for the longer side of the photos."""

    def __init__(self, net: nn.Module, size: int = INPUT_SIZE) -> None:
        from eva_helpers.model.inference import inference

        self.network = inference(net, "cpu")
        self.size = size

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> Predictor:
        """With the shipped weights, or those of `path`. Raises InputError as `load_weights`."""
        from eva_helpers.model.weights import load_weights

        return cls(load_weights(path or WEIGHTS))

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
        mask, depth = self._maps(scene, photo)
        return Prediction(scene, photo, mask, depth, check)

    def _maps(self, *photos: np.ndarray) -> list[np.ndarray]:
        """Mask and depth, float32 (H, W) in [0, 1], of background and image."""
        import torch

        height, width = photos[0].shape[:2]
        scale = min(1.0, self.size / max(height, width))
        size = (max(MIN_SIDE, round(height * scale)), max(MIN_SIDE, round(width * scale)))
        small = [resize(photo, size).transpose(2, 0, 1).copy() for photo in photos]
        maps = self.network(*(torch.from_numpy(photo).float().div(255)[None] for photo in small))
        return [resize(each[0, 0].numpy(), (height, width)).clip(0, 1) for each in maps]


def load_pair(
    background: Photo, image: Photo, force: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Background and image as uint8 RGB (H, W, 3), both of the image's size.

    Raises:
        InputError: a photo is unusable, or their shapes differ and `force` is False.
    """
    scene, scene_name = _as_rgb(background, "the background")
    photo, name = _as_rgb(image, "the image")
    ratio = (scene.shape[1] / scene.shape[0]) / (photo.shape[1] / photo.shape[0])
    if abs(ratio - 1) > SAME_SHAPE and not force:
        raise InputError(
            f"{scene_name} is {size_text(scene)} and {name} is {size_text(photo)}: the two must "
            "show the same frame; retake or crop one of them, or pass resize=True (--resize) to "
            "stretch the background."
        )
    return resize(scene, photo.shape[:2]), photo


def _as_rgb(photo: Photo, name: str) -> tuple[np.ndarray, str]:
    """Any photo as uint8 RGB (H, W, 3), and its name for messages."""
    if isinstance(photo, Image.Image):
        photo = to_rgb(photo)
    elif not isinstance(photo, np.ndarray):
        name = str(photo)
        photo = read_rgb(photo)
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        what = f"{name} is {photo.dtype} {photo.shape}"
        raise InputError(f"{what}: expected uint8 RGB of shape (H, W, 3).")
    if min(photo.shape[:2]) < MIN_SIDE:
        least = f"at least {MIN_SIDE} px a side"
        raise InputError(f"{name} is {size_text(photo)}: expected {least}; use a larger photo.")
    return photo, name


def predict_images(
    modelpath: str | os.PathLike | None, filepath: str | os.PathLike, bg: str, image: str
) -> Prediction:
    """Predict for the files `bg` and `image` in the folder `filepath`; the original project's call.

    Shows background, image, mask and depth, and prints what is wrong with the pair, if anything.
    """
    import matplotlib.pyplot as plt

    prediction = Predictor.load(modelpath)(Path(filepath) / bg, Path(filepath) / image)
    if prediction.check.problems:
        print(prediction.check.verdict)
    figure = prediction.show()
    plt.show()
    if not plt.isinteractive():  # else its window is still open
        plt.close(figure)
    return prediction
