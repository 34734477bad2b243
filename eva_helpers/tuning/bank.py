"""A bank of narrow networks: what a network learns with any weighting, in trainings of any length.

Each was trained with one weighting, from the same random weights, and stored after several numbers
of steps. For a weighting between theirs, the outputs are a weighted mean.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from typing_extensions import TypedDict

from eva_helpers.evaluation import iou
from eva_helpers.evaluation.metrics import rmse_std
from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import InputError, is_file, write_whole
from eva_helpers.losses import LossWeights, weight_vector
from eva_helpers.model import NarrowNet, inference
from eva_helpers.model.config import Channels
from eva_helpers.model.weights import check_tensors
from eva_helpers.schemas import Count, Weight, checked

FORMAT = "eva_helpers.Bank"
MASK_SHARES = (0.02, 0.1, 0.3, 0.7, 0.98)  # of the mask's weight in the sum of all
FAVOURED = 0.8  # share of one depth term in the weights of all three
DAMAGED = (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError)
DEPTH_TERMS = ("ssim", "edge", "l1")


class About(TypedDict):
    """What the metadata of a bank's file say."""

    lengths: Annotated[tuple[Count, ...], Field(min_length=1)]
    widths: Annotated[tuple[Channels, ...], Field(min_length=2, max_length=8)]
    notes: dict[str, Any]
    weightings: dict[str, dict[str, Weight]]


def at_share(share: float) -> LossWeights:
    """The weighting with this share of the mask, and equal weights of the depth terms."""
    even = dict.fromkeys(DEPTH_TERMS, 1 / len(DEPTH_TERMS))
    return LossWeights(share, 1 - share, **even)


def trained_weightings() -> dict[str, LossWeights]:
    """The weightings of a bank's networks by name.

    MASK_SHARES with equal weights of the depth terms; then, with the least share of the mask, one
    in favour of each depth term.
    """
    made = {f"mask {share:g}": at_share(share) for share in MASK_SHARES}
    least = MASK_SHARES[0]
    for term in DEPTH_TERMS:
        inner = {name: FAVOURED if name == term else (1 - FAVOURED) / 2 for name in DEPTH_TERMS}
        made[term] = LossWeights(least, 1 - least, **inner)
    return made


def nearby(weights: LossWeights) -> np.ndarray:
    """How much each of `trained_weightings` counts at a weighting: (8,), sum 1.

    At one of them, it counts alone. Between two shares of the mask, those two count, linearly in
    the logit of the share; where the depth terms differ, their networks take over as far as depth
    counts. Only ratios of the weights matter.

    Raises:
        InputError: mask, ssim, edge and l1 all have weight 0.
    """
    mask, *depth = weight_vector(weights).tolist()
    share = float(np.clip(mask, MASK_SHARES[0], MASK_SHARES[-1]))
    shares = np.array(MASK_SHARES)
    alone = np.eye(len(shares))
    places = np.log(shares / (1 - shares))
    place = np.log(share / (1 - share))
    along = np.array([np.interp(place, places, row) for row in alone])
    inner = np.array(depth) / max(sum(depth), 1e-9)
    favoured = (inner - inner.min()) / (FAVOURED - (1 - FAVOURED) / 2)
    favoured = favoured / max(favoured.sum(), 1)
    favoured = favoured * (shares[-1] - share) / (shares[-1] - shares[0])
    return np.concatenate([along * (1 - favoured.sum()), favoured])


@dataclass
class Answers:
    """What all networks of a bank predict for a batch: float32 (lengths, networks, B, 1, H, W)."""

    batch: Batch
    lengths: tuple[int, ...]
    mask: Tensor
    depth: Tensor

    def at(self, weights: LossWeights, steps: int) -> tuple[Tensor, Tensor]:
        """Mask probability and depth, (B, 1, H, W). Raises InputError as `nearby`."""
        counts = torch.from_numpy(nearby(weights)).float()
        row = self.lengths.index(steps)
        mask, depth = (torch.tensordot(counts, maps[row], 1) for maps in (self.mask, self.depth))
        return mask, depth

    def scores(self, weights: LossWeights, steps: int) -> dict[str, float]:
        """Mean mask IoU and depth RMSE / std at a weighting. Raises InputError as `nearby`."""
        mask, depth = self.at(weights, steps)
        errors = rmse_std(depth, self.batch["depth"]).nanmean()
        return {
            "mask_iou": iou(mask, self.batch["mask"]).mean().item(),
            "depth_rmse_std": errors.item(),
        }


class Bank:
    """Narrow networks by length of training and weighting.

    `parameters` holds, by name, those of all of them: (lengths, weightings, ...). `notes` are plain
    values about how they were trained.
    """

    def __init__(
        self, lengths: Sequence[int], widths: Sequence[int], parameters: dict[str, Tensor],
        notes: dict | None = None,
    ) -> None:  # fmt: skip
        self.lengths = tuple(lengths)
        self.widths = tuple(widths)
        self.parameters = parameters
        self.notes = notes or {}
        self.weightings = trained_weightings()

    def net(self, steps: int, number: int) -> NarrowNet:
        """The network of weighting `number` after `steps` steps."""
        net = NarrowNet(self.widths)
        row = self.lengths.index(steps)
        net.load_state_dict({name: value[row, number] for name, value in self.parameters.items()})
        return net.eval()

    def answers(self, batch: Batch, say: Callable[[str], None] = lambda text: None) -> Answers:
        """What every network predicts for a batch."""
        rows = []
        for steps in self.lengths:
            say(f"{steps} steps")
            nets = (self.net(steps, number) for number in range(len(self.weightings)))
            predict = (inference(net, "cpu", exact=True) for net in nets)
            rows.append([each(batch["background"], batch["image"]) for each in predict])
        maps = (
            torch.stack([torch.stack([pair[k] for pair in row]) for row in rows]) for k in (0, 1)
        )
        return Answers(batch, self.lengths, *maps)

    def save(self, path: str | Path) -> Path:
        """Write all networks in half precision."""
        about = {"lengths": self.lengths, "widths": self.widths, "notes": self.notes}
        about["weightings"] = {name: asdict(each) for name, each in self.weightings.items()}
        tensors = {name: value.half().contiguous() for name, value in self.parameters.items()}
        return write_whole(path, save(tensors, {"format": FORMAT, "about": json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            InputError: the file is missing, damaged, or made for other weightings.
        """
        remedy = "restore it, or run `make bank`"
        if not is_file(path):
            raise InputError(f"{path} is not there: expected a bank of networks; {remedy}.")
        try:
            with safe_open(path, framework="pt") as file:
                about = checked(About, json.loads(file.metadata()["about"]), path)
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            with torch.device("meta"):  # takes no memory
                one = NarrowNet(about["widths"]).state_dict()
        except DAMAGED as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path} is not a bank of networks ({reason}): {remedy}.") from None
        known = trained_weightings()
        if about["weightings"] != {name: asdict(each) for name, each in known.items()}:
            raise InputError(f"{path} was trained with other weightings: {remedy}.")
        counts = (len(about["lengths"]), len(known))
        check_tensors(path, tensors, {k: v.expand(*counts, *v.shape) for k, v in one.items()})
        parameters = {name: tensor.float() for name, tensor in tensors.items()}
        return cls(about["lengths"], about["widths"], parameters, about["notes"])
