"""Does fine-tuning forget depth, and what prevents it? `python -m experiments.replay FOLDER`.

FOLDER holds `bg/` photographs and `fg/` RGBA cut-outs, without depth labels. The shipped network
learns from them in several ways, each for the same time; scored are its masks on test photos, with
capture differences, and its depth in the park, on which nothing was chosen.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import nn

from eva_helpers.catalogue.build import build_catalogue
from eva_helpers.catalogue.catalogue import load_catalogue
from eva_helpers.catalogue.sources import photos_of_folder
from eva_helpers.files import command_line, output_file, write_json
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.model.weights import initial_net
from eva_helpers.training import finetuning
from experiments.common import RESULTS, commit, say

WAYS = {  # name -> (batches of the park for each of the photos, parts that do not learn)
    "a quarter of replay": (0.25, ()),
    "nothing against it": (0.0, ()),
    "depth decoder frozen": (0.0, ("depth_decoder",)),
    "encoder and depth decoder frozen": (0.0, ("encoder", "depth_decoder")),
}


def freeze(net: MaskDepthNet, parts: tuple[str, ...]) -> MaskDepthNet:
    """The network, with parts that neither learn nor gather statistics."""
    for name in parts:
        part = net.get_submodule(name).requires_grad_(False)
        part.register_forward_pre_hook(evaluated)
    return net


def evaluated(part: nn.Module, inputs: Any) -> None:
    """Keep a part's batch statistics, whatever mode the network is in."""
    part.eval()


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line; a training that was interrupted goes on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="for catalogue and trainings")
    parser.add_argument("--minutes", type=float, default=5.0, help="of each training")
    parser.add_argument("--json", type=output_file, default=RESULTS / "replay.json")
    options = parser.parse_args(arguments)
    photos = photos_of_folder(options.folder)
    catalogue = build_catalogue(options.out / "catalogue", photos, progress=True)
    park = load_catalogue()
    result: dict = {"commit": commit(), "minutes": options.minutes, "ways": {}}
    for number, (name, (replay, parts)) in enumerate(WAYS.items()):
        with patch.object(finetuning, "initial_net", lambda w, p=parts: freeze(initial_net(w), p)):
            report = finetuning.finetune(
                catalogue, "shipped", options.out / str(number),
                park=park, minutes=options.minutes, replay=replay,
            )  # fmt: skip
        masks = report["scores"]["your test split"]
        depth = report["scores"]["the park's validation split"]
        result["ways"].setdefault("before", {"photos": masks["before"], "park": depth["before"]})
        result["ways"][name] = {"photos": masks["after"], "park": depth["after"]}
        result["subtraction"] = masks["subtraction"]
        say(f"{name}: mask IoU {masks['after']['mask_iou']:.4f} ({masks['before']['mask_iou']:.4f})"
            f", depth of the park RMSE/std {depth['after']['depth_rmse_std']:.4f}"
            f" ({depth['before']['depth_rmse_std']:.4f})")  # fmt: skip
    write_json(options.json, result)


if __name__ == "__main__":
    sys.exit(main())
