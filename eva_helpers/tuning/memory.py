"""What was tried in a steered training: an entry per weighting, kept in a JSON file."""

import base64
import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from eva_helpers.evaluation import evaluate, summary
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import InputError, read_json, write_json
from eva_helpers.losses import TERMS, LossWeights
from eva_helpers.model import inference
from eva_helpers.training import Trainer
from eva_helpers.tuning.pictures import mosaic, png
from eva_helpers.tuning.weights_json import named

MIN_STEPS = 5  # a weighting that was in force for less was passed over, not tried
POINTS = 200  # of a curve in the file, at most
SCORES = ("mask_iou", "depth_rmse_std")


@dataclass
class Try:
    """A weighting that was in force in a training.

    Args:
        number: 1 for the first.
        weights: the weighting.
        rows: one per step, with `step` and the raw terms; thinned after reading from a file.
        steps: for how many steps it was in force.
        scores: at its end: `mask_iou` and `depth_rmse_std` on the validation samples, and `cosine`,
            the mean of `gradients.conflict` meanwhile; what is unknown is missing.
        picture: what the network made of the examples at its end, uint8 (H, W, 3).
        failed: the error that ended the training with it; empty: none.
    """

    number: int
    weights: LossWeights
    rows: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    picture: np.ndarray | None = None
    failed: str = ""

    @property
    def title(self) -> str:
        """Number and weighting as text."""
        return f"{self.number}: {named(self.weights)}" + (" (failed)" if self.failed else "")

    @property
    def counts(self) -> bool:
        """Whether it is an entry of the memory: long enough, or failed."""
        return self.steps >= MIN_STEPS or bool(self.failed)

    def settle(self, trainer: Trainer, examples: Batch) -> None:
        """Compute scores and picture of the averaged network as it is now."""
        predict = inference(trainer.averaged_net, trainer.accelerator.device)
        metrics = summary(evaluate(predict, trainer.validation, trainer.z_near))
        scores = {name: metrics[name] for name in SCORES if name in metrics}
        cosines = [row["cosine"] for row in self.rows if np.isfinite(row.get("cosine", np.nan))]
        if cosines:
            scores["cosine"] = float(np.mean(cosines))
        photos = examples["background"], examples["image"]
        self.picture = mosaic(examples, *predict(*photos), zoom=1)
        self.scores = scores  # whole and last: other threads redraw when it changes

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the picture as PNG in Base64."""
        thinned = self.rows[:: -(-len(self.rows) // POINTS) or 1]
        rows = [{name: row[name] for name in ("step", *TERMS)} for row in thinned]
        drawn = b"" if self.picture is None else png(self.picture)
        values = {"number": self.number, "weights": asdict(self.weights), "rows": rows}
        values |= {"steps": self.steps, "scores": self.scores, "failed": self.failed}
        return values | {"picture": base64.b64encode(drawn).decode()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises KeyError, TypeError, ValueError, OSError."""
        data = base64.b64decode(values["picture"], validate=True)
        stored = Image.open(io.BytesIO(data), formats=["PNG"]) if data else None
        picture = np.asarray(stored.convert("RGB")) if stored else None
        rows = [{name: float(row[name]) for name in ("step", *TERMS)} for row in values["rows"]]
        scores = {str(name): float(score) for name, score in dict(values["scores"]).items()}
        weights = LossWeights(**values["weights"])
        number, steps = (int(values[name]) for name in ("number", "steps"))
        return cls(number, weights, rows, steps, scores, picture, str(values["failed"]))


class Memory:
    """The weightings of a training in their order, and the way back to those before."""

    def __init__(self) -> None:
        self._all: list[Try] = []  # the last one, which is in force, may not count yet
        self._before: list[LossWeights] = []

    @property
    def current(self) -> Try | None:
        """The weighting in force; None before the first step."""
        return self._all[-1] if self._all else None

    @property
    def tries(self) -> list[Try]:
        """The entries: all that were in force for MIN_STEPS or more, or failed."""
        return [each for each in self._all if each.counts]

    def begin(self, weights: LossWeights) -> Try:
        """From now on `weights` are in force; returns their entry."""
        if not self._goes_on(weights):
            if self._all and not self._all[-1].counts:
                self._all.pop()
            if not self._goes_on(weights):
                self._all.append(Try(len(self._all) + 1, weights))
        return self._all[-1]

    def add(self, row: dict[str, float]) -> None:
        """One more step with the weighting in force."""
        self._all[-1].rows.append(row)
        self._all[-1].steps += 1

    def _goes_on(self, weights: LossWeights) -> bool:
        last = self.current
        return last is not None and last.weights == weights and not last.failed

    def leave(self, weights: LossWeights) -> None:
        """`weights` are about to be replaced: `undo` leads back to them."""
        self._before.append(weights)

    def undo(self, weights: LossWeights) -> LossWeights:
        """The weighting before `weights`; repeated, further back. InputError: there is none."""
        while self._before:
            if (before := self._before.pop()) != weights:
                return before
        raise InputError("there is no earlier weighting to go back to: move a slider first.")


def write_tries(path: str | Path, tries: list[Try]) -> Path:
    """Write the entries of a memory as JSON."""
    return write_json(path, [each.to_dict() for each in tries])


def read_tries(path: str | Path) -> list[Try]:
    """The inverse of `write_tries`. Raises InputError: the file is missing or damaged."""
    values = read_json(path, "a memory of weightings")
    try:
        if not isinstance(values, list):
            raise TypeError("not a list")
        return [Try.from_dict(each) for each in values]
    except (AttributeError, KeyError, TypeError, ValueError, OSError, SyntaxError) as error:
        raise InputError(
            f"{path} is not a memory of weightings ({type(error).__name__}: {error}): "
            "check the path, or restore it."
        ) from None
