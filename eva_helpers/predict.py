"""Two photos -> mask and depth. In Python: `predict_images` or `Predictor`; on the command line: `python -m eva_helpers.predict`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from eva_helpers.assets import WEIGHTS, resize, shape
from eva_helpers.images import InputError, command_line, read_rgb, to_rgb, write_png
from eva_helpers.pairing import PairCheck, check_pair
from eva_helpers.pairing import align as aligned

WORKING_SIZE = 224  # the longer side the network works at; it was trained on 64-224 px
SAME_SHAPE = 0.02  # photos whose width / height differ by less than this show the same frame at another size
SMALLEST = 32

Photo = np.ndarray | Image.Image | str | os.PathLike


@dataclass(frozen=True)
class Prediction:
    """What came out for one pair.

    `background`, `image`: uint8 (H, W, 3), as the network saw them, at the image's own size.
    `mask`: float32 (H, W), probability in [0, 1] that the object covers the pixel.
    `depth`: float32 (H, W) in [0, 1], inverse depth, near = 1 and far = 0.
    `check`: whether the two photos belong together; `check.verdict` says it in a sentence.
    """

    background: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    check: PairCheck | None = None

    def show(self):
        """Four panels side by side; returns the matplotlib figure."""
        from eva_helpers import plots

        return plots.panels(self.background, self.image, self.mask, self.depth)

    def save(self, folder: str | os.PathLike) -> list[Path]:
        """Write `mask.png` (8 bit), `depth.png` (16 bit, near bright) and `panel.png`.

        Raises:
            InputError: one of them is there already; nothing is overwritten.
        """
        folder = Path(folder)
        paths = [folder / name for name in ("mask.png", "depth.png", "panel.png")]
        for path in paths:
            if path.exists():
                raise InputError(f"{path} is there already and would be overwritten: choose another --out folder.")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be made ({error.strerror}): choose another --out folder.") from None
        write_png(paths[0], np.rint(self.mask * 255).astype(np.uint8))
        write_png(paths[1], np.rint(self.depth * 65535).astype(np.uint16))
        figure = self.show()
        figure.savefig(paths[2], dpi=120, bbox_inches="tight")
        return paths


class Predictor:
    """A loaded network, ready for pairs of photos."""

    def __init__(self, net, size: int = WORKING_SIZE) -> None:
        self.net, self.size = net.eval(), size

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> Predictor:
        """The shipped weights, or those of `path`. Raises InputError for a missing, damaged or foreign file."""
        from eva_helpers.training import load_weights  # torch is slow to import; errors in the photos' paths come first

        return cls(load_weights(path or WEIGHTS))

    def __call__(self, background: Photo, image: Photo, *, resize: bool = False, align: bool = False) -> Prediction:
        """Predict for uint8 RGB arrays (H, W, 3), PIL images or paths.

        The same frame at another size is resampled to the image's size; another shape is an error unless `resize` is given. With
        `align` the background is moved, turned and brightened to match the image first, as far as the pair's check finds it off.
        """
        import torch

        from eva_helpers.metrics import network

        background, image = load_pair(background, image, force=resize)
        check = check_pair(background, image)
        if align and check.problems:
            background = aligned(background, check, image)
        small = [_working_copy(photo, self.size) for photo in (background, image)]
        tensors = [torch.from_numpy(photo.transpose(2, 0, 1).copy()).float().div(255)[None] for photo in small]
        with torch.no_grad():
            maps = [_resize(array[0, 0].numpy(), image.shape[:2]).clip(0, 1) for array in network(self.net, "cpu")(*tensors)]
        return Prediction(background, image, *maps, check)


_resize = resize  # `resize` is also the name of an argument above


def load_pair(background: Photo, image: Photo, force: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Both photos as uint8 RGB of the image's size.

    Raises:
        InputError: a photo cannot be read, is under 32 px, or the two have different shapes and `force` is False.
    """
    (background, name_b), (image, name_i) = _as_rgb(background, "background"), _as_rgb(image, "image")
    for photo, name in ((background, name_b), (image, name_i)):
        if min(photo.shape[:2]) < SMALLEST:
            raise InputError(f"{name} is {shape(photo)}: expected at least {SMALLEST} px a side; use a larger photo.")
    ratio = (background.shape[1] / background.shape[0]) / (image.shape[1] / image.shape[0])
    if abs(ratio - 1) > SAME_SHAPE and not force:
        raise InputError(
            f"{name_b} is {shape(background)} and {name_i} is {shape(image)}: the two must show the same frame; "
            "retake or crop one of them, or pass resize=True (--resize) to stretch the background."
        )
    return _resize(background, image.shape[:2]), image


def _as_rgb(photo: Photo, role: str) -> tuple[np.ndarray, str]:
    if isinstance(photo, Image.Image):
        return to_rgb(photo), f"the {role}"
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise InputError(f"the {role} is {photo.dtype} {photo.shape}: expected uint8 RGB of shape (H, W, 3).")
        return photo, f"the {role}"
    return read_rgb(photo), str(photo)


def _working_copy(photo: np.ndarray, size: int) -> np.ndarray:
    scale = min(1.0, size / max(photo.shape[:2]))
    height, width = (max(SMALLEST, round(side * scale)) for side in photo.shape[:2])
    return _resize(photo, (height, width))


def predict_images(modelpath, filepath, bg, image) -> Prediction:
    """The source's call: weights file, folder of the photos, file names of background and image.

    Shows the four panels (background, image, mask, depth), says so if the two photos do not match, and returns the Prediction.
    """
    import matplotlib.pyplot as plt

    folder = Path(filepath)
    prediction = Predictor.load(modelpath)(folder / bg, folder / image)
    if prediction.check.problems:
        print(prediction.check.verdict)
    prediction.show()
    plt.show()
    return prediction


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m eva_helpers.predict", description="Mask and depth of an object from two photos.")
    parser.add_argument("--background", required=True, help="photo of the empty scene")
    parser.add_argument("--image", required=True, help="photo of the same scene with the object")
    parser.add_argument("--out", default="prediction", help="folder for mask.png, depth.png, panel.png (default: %(default)s)")
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--resize", action="store_true", help="stretch the background to the image's size, whatever its shape")
    parser.add_argument("--align", action="store_true", help="first move and brighten the background to match the image")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MPLBACKEND", "agg")  # a command line needs no window
    pair = load_pair(options.background, options.image, force=options.resize)
    prediction = Predictor.load(options.weights)(*pair, align=options.align)
    if prediction.check.problems:
        print(f"{'aligned' if options.align else 'warning'}: {prediction.check.verdict}", file=sys.stderr)
    for path in prediction.save(options.out):
        print(path)


if __name__ == "__main__":
    sys.exit(main())
