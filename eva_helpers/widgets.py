"""Tuning the loss weights by hand: a training that listens while it runs, and a network that takes the weights as an input.

The logic needs no browser: `Tuner` and the functions above the panels. The panels are thin callers of them, and only they import
ipywidgets; they use nothing that Colab lacks.
"""

from __future__ import annotations

import atexit
import io
import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from eva_helpers import metrics, plots, training
from eva_helpers.images import InputError
from eva_helpers.losses import CONDITIONED, LossWeights, condition, emphasised, raw_terms

SLIDERS = ("mask", "depth", "ssim", "edge", "l1")
PARAMETERS = {name: f"{name.upper()}_WEIGHT" for name in (*SLIDERS, "dice")}  # as notebook 04 calls them
SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)  # of one weight in all of them
CHANGE = 30  # times, to make visible what a weighting changes
_running: dict[Path, Tuner] = {}


def wanted(interactive: bool) -> bool:
    """Whether widgets make sense here: asked for, and nobody runs this automatically (`CI` is not set)."""
    return interactive and not os.environ.get("CI")


def changed(weights: LossWeights, **changes: float) -> LossWeights:
    """The weights with some of them replaced.

    Raises:
        InputError: an unknown name, a negative or not finite weight, or all of them zero.
    """
    unknown = changes.keys() - asdict(weights).keys()
    if unknown:
        raise InputError(f"no loss weight is called {', '.join(sorted(unknown))}: there are {', '.join(asdict(weights))}.")
    try:
        return LossWeights(**asdict(weights) | changes)
    except ValueError as error:
        raise InputError(str(error)) from None


def write_weights(path: str | os.PathLike, weights: LossWeights) -> Path:
    """A weighting as JSON with notebook 04's parameter names (`MASK_WEIGHT` ...): `make run PARAMS="-f FILE"` takes it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({parameter: getattr(weights, name) for name, parameter in PARAMETERS.items()}, indent=1) + "\n")
    return path


def read_weights(path: str | os.PathLike) -> LossWeights:
    """The inverse of `write_weights`. Raises InputError for a missing or foreign file and for weights that cannot be."""
    names = {parameter: name for name, parameter in PARAMETERS.items()}
    try:
        values = json.loads(Path(path).read_text())
        if not values or not values.keys() <= names.keys():
            raise InputError(f"{path} is not a weighting: expected JSON with some of {', '.join(names)}.")
        return changed(LossWeights(), **{names[parameter]: value for parameter, value in values.items()})
    except (OSError, json.JSONDecodeError, AttributeError) as error:
        raise InputError(f"{path} is not a weighting ({error}): expected JSON with some of {', '.join(names)}.") from None


class Stopped(Exception):  # noqa: N818 - it is no error
    """Ends a training from within its step."""


class Tuner:
    """A training in a thread of its own whose loss weights may be moved at any time; the very next step uses them.

    Args:
        trainer: ready to train; short epochs give frequent metrics.
        examples: a batch of fixed validation samples to look at.
        on_update: called about every `every` seconds from the training's thread, e.g. to draw.

    `record` holds one row a step: raw terms and the weights in force. `error` holds what ended the thread, if something did.
    """

    def __init__(self, trainer: training.Trainer, examples: dict[str, torch.Tensor], on_update: Callable | None = None, every: float = 8.0):
        self.trainer, self.examples, self.on_update, self.every = trainer, examples, on_update, every
        self.record: list[dict[str, float]] = []
        self.error: Exception | None = None
        self._going, self._ended, self._reset = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._updated = 0.0

    @property
    def state(self) -> str:
        """ "ready", "running", "paused", "stopped", "finished" or "failed"."""
        if self._thread is None:
            return "ready"
        if self._thread.is_alive():
            return "running" if self._going.is_set() else "paused"
        if self.error:
            return "failed"
        return "finished" if self.trainer.epoch >= self.trainer.config.epochs else "stopped"

    def start(self) -> None:
        """Begin, or go on after a pause or a stop.

        Raises:
            InputError: another tuner trains in the same folder, this one runs already, or it has trained all its epochs.
        """
        if self.state == "paused":
            self._going.set()
            return
        other = _running.get(self.trainer.folder.resolve())
        if other and other.state in ("running", "paused"):
            raise InputError(f"a training is running in {self.trainer.folder}: pause or stop it before you start another.")
        if self.state == "finished":
            raise InputError(f"all {self.trainer.config.epochs} epochs are trained: make a new trainer to go on.")
        self.error = None
        self._ended.clear()
        self._going.set()
        _running[self.trainer.folder.resolve()] = self
        self._thread = threading.Thread(target=self._work, name="tuner", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Halt after the step that is running; weights may be moved meanwhile, and nothing is lost."""
        self._going.clear()

    def stop(self, timeout: float = 60.0) -> None:
        """End the thread after its step; the averaged weights are kept as `last.safetensors`."""
        self._ended.set()
        self._going.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def set_weights(self, **changes: float) -> LossWeights:
        """Replace some loss weights from the next step on; returns all of them. Raises InputError, see `changed`."""
        self.trainer.weights = changed(self.trainer.weights, **changes)
        return self.trainer.weights

    def reset(self) -> None:
        """Go back to the best checkpoint, at the next step. InputError when there is none yet."""
        if not (self.trainer.folder / "best.safetensors").exists():
            raise InputError(f"{self.trainer.folder} has no checkpoint yet: the first comes after an epoch.")
        self._reset.set()
        if self.state not in ("running", "paused"):
            self._load_best()

    def save(self, folder: str | os.PathLike) -> list[Path]:
        """Keep the averaged network and the weighting as `tuned.safetensors` and `tuned.json` (then `tuned-2` ...)."""
        folder, number = Path(folder), 1
        folder.mkdir(parents=True, exist_ok=True)
        while (folder / (name := f"tuned{'' if number == 1 else f'-{number}'}.safetensors")).exists():
            number += 1
        training.save_weights(self.trainer.averaged.module, folder / name)
        return [folder / name, write_weights((folder / name).with_suffix(".json"), self.trainer.weights)]

    def wait(self, steps: int, timeout: float = 600.0) -> None:
        """Block until so many more steps are done or the training has ended. Raises what ended the thread, or TimeoutError."""
        goal, end = len(self.record) + steps, time.monotonic() + timeout
        while len(self.record) < goal and self._thread and self._thread.is_alive():
            if time.monotonic() > end:
                raise TimeoutError(f"no {steps} steps within {timeout:.0f} s: is the training paused?")
            time.sleep(0.02)
        if self.error:
            raise self.error

    def predictions(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mask probability and depth of the examples by the averaged network."""
        with torch.no_grad():
            return metrics.network(self.trainer.averaged.module, self.trainer.accelerator.device)(
                self.examples["background"], self.examples["image"]
            )

    def _work(self) -> None:
        try:
            self.trainer.fit(on_step=self._after_step)
        except Stopped:
            training.save_weights(self.trainer.averaged.module, self.trainer.folder / "last.safetensors")
        except Exception as error:
            self.error = error
        finally:
            self._update(force=True)

    def _after_step(self, step: int, terms: dict[str, float]) -> None:
        if not math.isfinite(terms["loss"]):
            raise InputError(f"the loss is {terms['loss']} at step {step}: reset to the best checkpoint, with smaller weights.")
        self.record.append({"step": step} | terms | {f"weight {name}": getattr(self.trainer.weights, name) for name in SLIDERS})
        self._update()
        while not self._going.is_set():
            self._going.wait(0.2)
            if self._reset.is_set():
                self._load_best()
        if self._reset.is_set():
            self._load_best()
        if self._ended.is_set():
            raise Stopped

    def _update(self, force: bool = False) -> None:
        if self.on_update and (force or time.monotonic() - self._updated > self.every):
            self.on_update()
            self._updated = time.monotonic()

    def _load_best(self) -> None:
        self._reset.clear()
        best = training.load_weights(self.trainer.folder / "best.safetensors").state_dict()
        for net in (self.trainer.accelerator.unwrap_model(self.trainer.net), self.trainer.averaged.module):
            net.load_state_dict(best)


@atexit.register
def _stop_all() -> None:
    for tuner in _running.values():
        tuner.stop(10)


def mosaic(
    examples: dict[str, torch.Tensor], mask: torch.Tensor, depth: torch.Tensor, before: torch.Tensor | None = None, zoom: int = 2
) -> np.ndarray:
    """Image, mask, depth and depth error (red: too far, blue: too near) of every example, uint8 (H, W, 3); drawn without axes: fast.

    With `before`, a depth too, one more row: the change since then, CHANGE times as strong, in the same colours.
    """
    photos = examples["image"].permute(0, 2, 3, 1).numpy()
    maps = [np.repeat(mask.permute(0, 2, 3, 1).numpy(), 3, 3), colormaps["magma"](depth[:, 0].numpy())[..., :3]]
    differences = [2 * (depth - examples["depth"])] + ([] if before is None else [CHANGE * (depth - before)])
    maps += [colormaps["RdBu"](0.5 + difference[:, 0].numpy())[..., :3] for difference in differences]
    rows = [np.concatenate(list(part), 1) for part in (photos, *maps)]
    picture = np.rint(np.concatenate(rows).clip(0, 1) * 255).astype(np.uint8)
    return picture.repeat(zoom, 0).repeat(zoom, 1)


def png(picture: np.ndarray | Figure) -> bytes:
    """A picture or a figure as PNG."""
    buffer = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(buffer, format="png", dpi=80)
    else:
        Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def at_weighting(net: torch.nn.Module, weights: LossWeights) -> Callable:
    """`predict` for `metrics.evaluate` of a conditional network at a weighting, which is taken up to a common factor.

    In full precision: two weightings' answers lie closer together than bfloat16 can tell.

    Raises:
        InputError: mask, ssim, edge and l1 have no weight.
    """
    try:
        vector = condition(weights)
    except ValueError as error:
        raise InputError(str(error)) from None
    return metrics.network(net, "cpu", vector, exact=True)


def preview(
    net: torch.nn.Module, examples: dict[str, torch.Tensor], weights: LossWeights, before: torch.Tensor | None = None
) -> np.ndarray:
    """What a conditional network makes of the examples at a weighting, as a `mosaic`, and below it what has changed.

    The last row is the depth's change since `before` (None: the depth at the usual weighting), CHANGE times as strong.
    """
    photos = examples["background"], examples["image"]
    with torch.no_grad():
        mask, depth = at_weighting(net, weights)(*photos)
        before = at_weighting(net, LossWeights())(*photos)[1] if before is None else before
    return mosaic(examples, mask, depth, before)


def tradeoff(net: torch.nn.Module, batches: list[dict], z_near: float, weightings: list[LossWeights]) -> list[dict]:
    """What a conditional network is worth at every weighting: one row each, the scores of `metrics.evaluate` and its `weights`."""
    return [metrics.summary(metrics.evaluate(at_weighting(net, each), batches, z_near)) | {"weights": each} for each in weightings]


@torch.no_grad()
def term_losses(net: torch.nn.Module, batches: list[dict], *condition: torch.Tensor, dice: float = 1.0) -> dict[str, float]:
    """Mean raw loss of every term of CONDITIONED; with the mask's goes its Dice, `dice` times."""
    net.eval()  # and in full precision: the answers lie closer together than bfloat16 can tell
    terms = [raw_terms(*net(batch["background"], batch["image"], *condition), batch) for batch in batches]
    mean = {name: float(np.mean([of_batch[name] for of_batch in terms])) for name in terms[0]}
    return {name: mean[name] + (dice * mean["dice"] if name == "mask" else 0) for name in CONDITIONED}


def responses(net: torch.nn.Module, batches: list[dict], weights: LossWeights | None = None) -> dict[str, list[float]]:
    """How a conditional network's loss of every term answers to that term's weight: a list for each, over SHARES of the whole.

    The other terms keep their proportions in `weights`. Theory says that such a loss does not rise: a training that finds the best function
    for every weighting has, for the larger weight, one of which this loss is at most as large. With `mask` goes its Dice.
    """
    weights = weights or LossWeights()
    return {
        name: [term_losses(net, batches, condition(emphasised(weights, name, share)), dice=weights.dice)[name] for share in SHARES]
        for name in CONDITIONED
    }


def simplex(shares: tuple[float, ...] = SHARES) -> list[LossWeights]:
    """Weightings to map: every share of the mask with four mixtures of the depth's terms: even, SSIM, edges or L1 above all."""
    mixtures = ((1.0, 1.0, 1.0), (0.8, 0.1, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8))
    return [LossWeights(share, 1 - share, *mixture) for mixture in mixtures for share in shares]


def nearest(rows: list[dict], weights: LossWeights) -> int | None:
    """Which of the rows of `tradeoff` has the weighting nearest to `weights`, both normalised; None without rows."""
    distances = [(condition(row["weights"]) - condition(weights)).abs().sum().item() for row in rows]
    return int(np.argmin(distances)) if distances else None


def chart(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """`plots.tradeoff` of the rows as uint8 (H, W, 3), and the place of every row in it, (n, 2) pixels from the left and the top."""
    figure = plots.tradeoff(rows)
    figure.set_dpi(64)  # a thumbnail beside the examples
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    places = figure.axes[0].transData.transform([[row["mask_iou"], row["depth_rmse_std"]] for row in rows])
    return picture, np.stack([places[:, 0], len(picture) - places[:, 1]], axis=1)


def ringed(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The chart with a ring around `place`: far faster than drawing it anew."""
    return cv2.circle(picture.copy(), tuple(np.rint(place).astype(int).tolist()), 11, (213, 94, 0), 2, cv2.LINE_AA)


class Panel:
    """Widgets around functions: `box` is what to display, `errors` what callbacks raised (it is also shown in the status line)."""

    def __init__(self) -> None:
        import ipywidgets

        self.kit, self.errors = ipywidgets, []
        self.status, self.picture = ipywidgets.HTML(), ipywidgets.Image(format="png")
        self.sliders: dict = {}
        self.box = None

    def say(self, text: str, bad: bool = False) -> None:
        self.status.value = f"<span style='color: {'#b00020' if bad else 'inherit'}'>{text}</span>"

    def safely(self, action: Callable) -> Callable:
        """`action` as a callback: an error is shown and kept, for a kernel would swallow it."""

        def call(*arguments) -> None:
            try:
                action(*arguments)
            except Exception as error:
                self.errors.append(error)
                self.say(f"{type(error).__name__}: {error}", bad=True)

        return call

    def slider(self, name: str, value: float, action: Callable) -> None:
        made = self.kit.FloatSlider(value=value, min=0.0, max=2.0, step=0.05, description=name, continuous_update=True)
        made.observe(self.safely(action), names="value")
        self.sliders[name] = made

    def button(self, text: str, action: Callable, tip: str = ""):
        made = self.kit.Button(description=text, tooltip=tip)
        made.on_click(self.safely(lambda _: action()))
        return made


def tuner_panel(tuner: Tuner, draw: Callable[[Tuner], Figure], folder: str | os.PathLike) -> Panel:
    """Sliders, buttons and a live picture around a running `tuner`; `draw` makes the picture, `folder` gets what is saved."""
    panel = Panel()

    def show() -> None:
        panel.picture.value = png(draw(tuner))
        panel.say(f"{tuner.state}: step {len(tuner.record)}, epoch {tuner.trainer.epoch}", bad=False)
        if tuner.error:
            panel.say(f"{type(tuner.error).__name__}: {tuner.error}", bad=True)

    def move(change: dict) -> None:
        tuner.set_weights(**{change["owner"].description: change["new"]})
        panel.say(f"from the next step on: {', '.join(f'{name} {getattr(tuner.trainer.weights, name):g}' for name in SLIDERS)}")

    def act(what: Callable, word: str) -> Callable:
        def go() -> None:
            result = what()
            panel.say(word + (": " + ", ".join(path.name for path in result) if isinstance(result, list) else ""))

        return go

    for name in SLIDERS:
        panel.slider(name, getattr(tuner.trainer.weights, name), move)
    buttons = [
        panel.button("start / resume", act(tuner.start, "running")),
        panel.button("pause", act(tuner.pause, "paused after this step")),
        panel.button("reset to best", act(tuner.reset, "going back to the best checkpoint")),
        panel.button("save", act(lambda: tuner.save(folder), "saved")),
        panel.button("stop", act(tuner.stop, "stopped, checkpoint kept")),
    ]
    tuner.on_update = panel.safely(show)
    panel.say("ready")
    panel.box = panel.kit.VBox([panel.kit.HBox(buttons), *panel.sliders.values(), panel.status, panel.picture])
    return panel


def preview_panel(net: torch.nn.Module, examples: dict[str, torch.Tensor], rows: list[dict], weights: LossWeights | None = None) -> Panel:
    """Sliders over a conditional network: moving one shows what the network would have learnt with that weighting.

    `rows` (see `tradeoff`) become a chart, in which the weighting nearest to the sliders is ringed, and a map of buttons, blue by mask IoU:
    pressing one sets the sliders to its weights.
    """
    panel, points = Panel(), []
    panel.chart, panel.here = panel.kit.Image(format="png"), None  # `here`: number of the row that is ringed
    drawn, places = chart(rows) if rows else (None, ())
    with torch.no_grad():
        before = at_weighting(net, weights or LossWeights())(examples["background"], examples["image"])[1]

    def current() -> LossWeights:
        return changed(weights or LossWeights(), **{name: slider.value for name, slider in panel.sliders.items()})

    def show(_: dict | None = None) -> None:
        start = time.perf_counter()
        panel.picture.value = png(preview(net, examples, current(), before))
        panel.say(f"{1000 * (time.perf_counter() - start):.0f} ms")
        if (here := nearest(rows, current())) == panel.here:
            return
        panel.here, panel.chart.value = here, png(ringed(drawn, places[here]))
        for number, point in enumerate(points):
            point.layout.border = "2px solid #d55e00" if number == here else ""  # an icon would push the figures out

    def jump(row: dict) -> Callable:
        def go() -> None:
            for name, slider in panel.sliders.items():
                slider.value = getattr(row["weights"], name)

        return go

    for name in SLIDERS:
        panel.slider(name, getattr(weights or LossWeights(), name), show)
    values = [row["mask_iou"] for row in rows]
    for row in rows:
        text = f"{row['mask_iou']:.3f} | {row['depth_rmse_std']:.3f}"
        tip = ", ".join(f"{name} {getattr(row['weights'], name):g}" for name in SLIDERS)
        made = panel.button(text, jump(row), tip)
        level = (row["mask_iou"] - min(values)) / max(max(values) - min(values), 1e-9)
        red, green, blue = (round(255 * value) for value in colormaps["Blues"](0.15 + 0.5 * level)[:3])
        made.layout.width = "auto"
        made.style.button_color = f"rgb({red}, {green}, {blue})"
        points.append(made)
    columns, layout = len({row["weights"].mask for row in rows}) or 1, panel.kit.Layout
    grid = panel.kit.GridBox(points, layout=layout(grid_template_columns=f"repeat({columns}, 1fr)", max_width="860px"))
    pictures = panel.kit.HBox([panel.picture, panel.chart], layout=layout(flex_flow="row wrap", align_items="flex-start"))
    panel.box = panel.kit.VBox([*panel.sliders.values(), panel.status, pictures, grid])
    panel.safely(show)()
    return panel
