"""Trainings for test_processes.py: under torchrun each is made by all processes together."""

import sys
from pathlib import Path

import pytest
import torch
from conftest import TINY
from torch import nn
from torch.utils.data import Dataset

from eva_helpers import training
from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, divided, fixed_sample, make_loader
from eva_helpers.files import InputError, write_json
from eva_helpers.model import MaskDepthNet, save_weights
from eva_helpers.model.sized import norms
from eva_helpers.training import finetuning
from eva_helpers.training.processes import count, on_main, state

EPOCHS = 2
# balances; other layers; depth labels without a scale
KINDS = ("fixed", "geometric", "uncertainty", "batch norm", "scale free")


class PartlyLabelled(Dataset):
    """A dataset of which only every third sample has depth labels."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        sample = self.pairs[index]
        return sample if index % 3 == 0 else sample | {"depth": torch.zeros_like(sample["depth"])}


def network(kind):
    torch.manual_seed(0)
    net = MaskDepthNet(TINY)
    if kind != "batch norm":
        for name in norms(net):
            net.set_submodule(name, nn.GroupNorm(2, net.get_submodule(name).num_features))
    return net


def loaders(catalogue):
    """Training batches of 8 and validation ones of 8, the last of which has three samples."""
    pairs = CompositeDataset(catalogue, size=32, augment=True, strength=0.5)
    held_out = CompositeDataset(catalogue, "validation", "validation", size=32)
    train = make_loader(PartlyLabelled(pairs), 8, samples=24, seed=0)
    return train, make_loader(fixed_sample(held_out, 11), 8)


def trainer(catalogue, folder, kind, **options):
    balance = kind if kind in ("geometric", "uncertainty") else "fixed"
    config = training.TrainingConfig(epochs=EPOCHS, balance=balance, ema=0.5)
    options = {"z_near": catalogue.z_near, "say": lambda line: None} | options
    train, held_out = loaders(catalogue)
    make = training.Trainer
    if kind == "scale free":
        train = make_loader(finetuning.ScaleFree(train.dataset), 8, samples=24, seed=0)
        make = finetuning.FinetuningTrainer
    net = network(kind)
    if state().process_index:  # the main process's weights count
        nn.init.zeros_(next(net.parameters()))
    return make(net, train, held_out, folder, config, **options)


def finetuned(catalogue, out, say):
    """The report of a fine-tuning of few steps."""
    finetuning.EPOCHS = finetuning.STEPS = EPOCHS
    finetuning.COUNT = 11
    start = out / "start.safetensors"
    on_main(lambda: save_weights(network("batch norm"), start))
    options = {"park": catalogue, "sizes": {32: 8}, "replay": 0.5, "say": say}
    return finetuning.finetune(catalogue, start, out / "finetuned", **options)


def refusal(work):
    with pytest.raises(InputError) as refused:
        work()
    return str(refused.value)


def spoilt(made):
    """Let the last process have a value that is not finite in its share of the second batch."""
    batches = list(made.train_loader)
    if state().process_index:
        batches[1]["image"][0] = float("nan")
    made.train_loader = batches
    return made


def main(catalogue, out):
    catalogue = load_catalogue(catalogue)
    own = state().process_index
    lines = []
    for kind in KINDS:
        made = trainer(catalogue, out / kind, kind, say=lines.append)
        made.fit()
    train = divided(loaders(catalogue)[0], own, count())
    seen = [batch["image"].sum((1, 2, 3)) for batch in train]
    trainer(catalogue, out / "halves", "batch norm").run_epoch()
    trainer(catalogue, out / "halves", "batch norm", resume=True).fit()
    refusals = [refusal(lambda: trainer(catalogue, out / "fixed", "fixed"))]
    spoilt(trainer(catalogue, out / "spoilt", "fixed", say=lines.append)).run_epoch()
    said = []
    report = finetuned(catalogue, out, said.append)
    found = {"lines": lines, "refusals": refusals, "seen": torch.cat(seen).tolist()}
    found |= {"report": report, "said": said}
    write_json(out / f"process-{own}.json", found)
    made.accelerator.end_training()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
