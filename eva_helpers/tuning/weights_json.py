"""Loss weights by name: changing some, and storing them as parameters of notebook 04."""

from dataclasses import asdict
from pathlib import Path

from eva_helpers.files import InputError, make_folder, write_json
from eva_helpers.losses import LossWeights
from eva_helpers.schemas import Weight, read_as

SLIDERS = ("mask", "depth", "ssim", "edge", "l1")
PARAMETERS = {name: f"{name.upper()}_WEIGHT" for name in (*SLIDERS, "dice")}  # in notebook 04
DEFAULT = LossWeights()
WEIGHT_PRESETS = {  # what is worth trying first; the last is the original project's balance
    "mask off": LossWeights(mask=0.0),
    "depth off": LossWeights(depth=0.0),
    "L1 off": LossWeights(l1=0.0),
    "SSIM off": LossWeights(ssim=0.0),
    "0.3 / 0.7": DEFAULT,
}


def changed(weights: LossWeights, **changes: float) -> LossWeights:
    """The weights with some of them replaced.

    Raises:
        InputError: an unknown name, a negative or non-finite weight, or all weights zero.
    """
    known = asdict(weights)
    unknown = ", ".join(sorted(changes.keys() - known.keys()))
    if unknown:
        raise InputError(f"no loss weight is called {unknown}: there are {', '.join(known)}.")
    return LossWeights(**known | changes)


def named(weights: LossWeights) -> str:
    """A weighting as text: the name of its preset, or the weights that differ from the default."""
    for name, preset in WEIGHT_PRESETS.items():
        if weights == preset:
            return name
    default = asdict(DEFAULT)
    values = asdict(weights).items()
    return ", ".join(f"{name} {value:g}" for name, value in values if value != default[name])


def write_weights(path: str | Path, weights: LossWeights) -> Path:
    """Write a weighting as JSON, for `make run PARAMS="-f FILE"`."""
    make_folder(Path(path).parent)
    return write_json(path, {key: getattr(weights, name) for name, key in PARAMETERS.items()})


def read_weights(path: str | Path) -> LossWeights:
    """The inverse of `write_weights`. Raises InputError: file missing, or not a weighting."""
    names = {key: name for name, key in PARAMETERS.items()}
    values = read_as(dict[str, Weight], path, "a weighting")
    if not values or not values.keys() <= names.keys():
        some = ", ".join(names)
        raise InputError(f"{path} is not a weighting: expected JSON with some of {some}.")
    return changed(DEFAULT, **{names[key]: value for key, value in values.items()})
