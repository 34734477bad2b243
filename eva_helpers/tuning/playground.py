"""Sliders make two shots differ by more than the object: the network's mask and subtraction's."""

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from eva_helpers.evaluation import best_threshold, subtraction
from eva_helpers.evaluation.matting import mask_iou
from eva_helpers.evaluation.robustness import Photos, jpeg, noise, shadow, shift
from eva_helpers.images import resize
from eva_helpers.plots import strip
from eva_helpers.predict.predictor import Photo, Predictor, load_pair
from eva_helpers.refinement.aligned import as_tensor
from eva_helpers.schemas import MIN_SIDE
from eva_helpers.tuning.panel import Panel
from eva_helpers.tuning.pictures import as_jpeg

SIDE = 176  # px, of the longer side: as large as it is shown, and fast enough to follow
SEED = 13  # of noise and directions, the same at every move; the shadow falls away from the camera
RANGES = {  # least, most, step and text of each slider
    "exposure": (-1.0, 1.0, 0.05, "exposure (stops)"),
    "white_balance": (-1.0, 1.0, 0.05, "red : blue (stops)"),
    "shift": (0.0, 4.0, 0.25, "shift (% of frame)"),
    "noise": (0.0, 25.0, 1.0, "noise (of 255)"),
    "jpeg": (10.0, 100.0, 5.0, "JPEG quality"),
    "shadow": (0.0, 0.8, 0.05, "shadow (darkness)"),
}


@dataclass(frozen=True)
class Changes:
    """How two shots of one scene differ; the defaults change nothing.

    Attributes:
        exposure: of the background, in stops, -1 to 1: at 1 it is twice as bright.
        white_balance: of the background, its ratio of red to blue in stops, -1 (cold) to 1 (warm).
        shift: of the background, in percent of the frame's sides, 0 to 4.
        noise: of both photos, standard deviation in grey levels of 255, 0 to 25.
        jpeg: quality of both photos, 10 to 100; at 100 they are not compressed.
        shadow: darkness of the shadow that the object casts in the image, 0 to 0.8.

    Raises:
        ValueError: a value is not finite or out of its range.
    """

    exposure: float = 0.0
    white_balance: float = 0.0
    shift: float = 0.0
    noise: float = 0.0
    jpeg: float = 100.0
    shadow: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least, most, *_ = RANGES[name]
            if not least <= value <= most:  # NaN is refused too
                raise ValueError(f"{name} is {value}: expected a number from {least} to {most}.")


PRESETS = {
    "cloud": Changes(exposure=-0.5, white_balance=-0.2),
    "hand-held": Changes(exposure=0.1, shift=1.5, noise=3),
    "low sun": Changes(white_balance=0.2, shadow=0.6),
    "night JPEG": Changes(exposure=0.2, noise=14, jpeg=30),
}


def changed_pair(
    background: np.ndarray, image: np.ndarray, mask: np.ndarray, changes: Changes
) -> Photos:
    """Both photos, uint8 RGB (H, W, 3), after `changes`; the same for the same arguments.

    `mask`, float32 (H, W) in [0, 1], is of the object that casts the shadow.
    """
    gain = 2.0 ** (changes.exposure + changes.white_balance * np.array([0.5, 0.0, -0.5]))
    pair = (np.rint(np.minimum(background * gain, 255)).astype(np.uint8), image)
    quality = changes.jpeg if changes.jpeg < 100 else 0
    levels = (changes.shadow, changes.shift / 100, changes.noise / 255, quality)
    for change, level in zip((shadow, shift, noise, jpeg), levels, strict=True):
        if level:
            pair = change(*pair, mask, level, np.random.default_rng(SEED))
    return pair


class Comparison:
    """One pass of the network beside subtraction, on a pair of photos that can be changed.

    The photos are uint8 RGB (H, W, 3), PIL images or paths, as for `Predictor`, and are reduced to
    at most SIDE px of the longer side. `truth` is the true mask, (H, W) in [0, 1], of the image's
    size; without it, IoU is measured against the network's own mask of the unchanged pair, which
    favours the network. Subtraction keeps the `threshold` with the best IoU for the *unchanged*
    pair. Raises InputError for unusable photos, ValueError for a mask that does not fit.
    """

    def __init__(
        self, predictor: Predictor, background: Photo, image: Photo, truth: np.ndarray | None = None
    ) -> None:
        pair = load_pair(background, image)
        full = pair[1].shape[:2]
        scale = min(1.0, min(SIDE, predictor.passes.size) / max(full))
        height, width = (max(MIN_SIDE, round(side * scale)) for side in full)
        self.background, self.image = (resize(photo, (height, width)) for photo in pair)
        self.passes = predictor.passes
        if truth is None:
            self.goal = "network, unchanged pair"
            self.reference = self._network(self.background, self.image)
        else:
            self.goal = "true mask"
            self.reference = resize(_checked(truth, full), (height, width))
        batch = {"background": as_tensor(self.background), "image": as_tensor(self.image)}
        batch["mask"] = torch.tensor(self.reference)[None, None]
        self.threshold = best_threshold([batch])

    def _network(self, background: np.ndarray, image: np.ndarray) -> np.ndarray:
        return self.passes.coarse_mask(background, image)

    def __call__(self, changes: Changes) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """After `changes`: photos and masks by name, and the IoU of both masks.

        `background` and `image` are uint8 (H, W, 3), `network` and `subtraction` float32 (H, W).
        """
        pair = changed_pair(self.background, self.image, self.reference, changes)
        simple, _ = subtraction(self.threshold, 0.0)(*map(as_tensor, pair))
        masks = {"network": self._network(*pair), "subtraction": simple[0, 0].numpy()}
        scores = {name: mask_iou(mask, self.reference) for name, mask in masks.items()}
        return {"background": pair[0], "image": pair[1]} | masks, scores

    def picture(self, changes: Changes) -> np.ndarray:
        """Photos, masks titled with their IoU, and what they are measured against: uint8 RGB."""
        shown, scores = self(changes)
        titles = {name: f"{name}: IoU {score:.2f}" for name, score in scores.items()}
        named = [titles.get(name, name) for name in shown]
        return strip([*shown.values(), self.reference], [*named, self.goal])


def _checked(truth: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A true mask as float32. Raises ValueError if it is not (H, W) of `shape` in [0, 1]."""
    if truth.shape != shape or not (0 <= truth.min() and truth.max() <= 1):
        what = f"the true mask is {truth.dtype} {truth.shape}"
        raise ValueError(f"{what}: expected {shape}, as the image, with values in [0, 1].")
    return truth.astype(np.float32)


def playground_panel(
    predictor: Predictor, background: Photo, image: Photo, truth: np.ndarray | None = None
) -> Panel:
    """Sliders of `Changes` and buttons of PRESETS over `Comparison.picture`, which follows them.

    Arguments and errors are those of `Comparison`; errors while it is used appear in the status.
    """
    panel = Panel()
    compare = Comparison(predictor, background, image, truth)

    def show(*_: Any) -> None:
        start = time.perf_counter()
        values = {name: slider.value for name, slider in panel.sliders.items()}
        panel.picture.value = as_jpeg(compare.picture(Changes(**values)))
        rule = f"subtraction's threshold: {compare.threshold:g}, the best for the unchanged pair"
        panel.say(f"{rule}; {1000 * (time.perf_counter() - start):.0f} ms")

    def choose(changes: Changes) -> None:
        for name, slider in panel.sliders.items():
            slider.unobserve(follow, "value")  # one picture in the end, not one for each slider
            slider.value = getattr(changes, name)
            slider.observe(follow, "value")
        show()

    follow = panel.safely(show)
    panel.sliders = {name: _slider(panel, name) for name in RANGES}
    for slider in panel.sliders.values():
        slider.observe(follow, "value")
    choices = {"reset": Changes()} | PRESETS
    buttons = [panel.button(name, partial(choose, each)) for name, each in choices.items()]
    bars = (buttons, list(panel.sliders.values()))
    rows = [panel.kit.HBox(each, layout={"flex_flow": "row wrap"}) for each in bars]
    panel.picture.format = "jpeg"
    panel.picture.layout.max_width = "100%"
    panel.box.children = [*rows, panel.status, panel.picture]
    follow()
    return panel


def _slider(panel: Panel, name: str) -> Any:
    """The slider of one of RANGES, at the value that changes nothing."""
    least, most, step, text = RANGES[name]
    value = {"value": getattr(Changes(), name), "min": least, "max": most, "step": step}
    look = {"style": {"description_width": "130px"}, "layout": {"width": "400px"}}
    return panel.kit.FloatSlider(description=text, **value, **look)
