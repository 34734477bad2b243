"""Weights files: safetensors with the network's configuration in the file's metadata."""

import json
import os
from dataclasses import fields

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from eva_helpers import __version__
from eva_helpers.files import InputError, is_file, write_whole
from eva_helpers.model.config import ModelConfig
from eva_helpers.model.net import MaskDepthNet
from eva_helpers.paths import SHIPPED, WEIGHTS, typed_path
from eva_helpers.schemas import checked

FORMAT = "eva_helpers.MaskDepthNet"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Switches of earlier versions, with the values that every network has now.
SWITCHES = {
    "fusion": "image+difference", "matched": True, "coordinates": True, "layered": True,
    "cross_talk": False, "detail_layers": 3, "conditional": False,
}  # fmt: skip
OLDER = {"matched": False, "coordinates": False, "layered": False}  # before these switches existed


def save_weights(net: MaskDepthNet, path: str | os.PathLike, half: bool = False) -> None:
    """Write weights and configuration; `half` stores float16. Raises as `write_whole`."""
    write_whole(path, weights_file(net, half))


def weights_file(net: MaskDepthNet, half: bool = False) -> bytes:
    """The contents of the file that `save_weights` writes; the same for the same network."""
    tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
    if half:
        tensors = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
    config = json.dumps(net.config.to_dict())
    metadata = {"format": FORMAT, "version": __version__, "network": type(net).__name__}
    data = save(tensors, metadata | {"config": config})
    # its header, a JSON object after 8 bytes for its length, comes in a random order
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def load_weights(path: str | os.PathLike) -> MaskDepthNet:
    """Read a network written by `save_weights`, in float32 and evaluation mode.

    Raises:
        InputError: the file is missing, damaged, or holds a network this version cannot build.
    """
    metadata, tensors = _read(path)
    config = _read_config(path, metadata)
    try:
        with torch.device("meta"):  # takes no memory
            expected = MaskDepthNet(config).state_dict()
        check_tensors(path, tensors, expected)
        net = MaskDepthNet(config)
        net.load_state_dict(tensors)  # converts float16 to float32
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path} does not fit this version's network ({reason}): train it again."
        ) from None
    kind = type(net).__name__
    if metadata.get("network", kind) != kind:
        raise InputError(
            f"{path} holds a network of class {metadata['network']}, not {kind}: "
            "load its tensors into that class."
        )
    return net.eval()


def check_tensors(
    path: str | os.PathLike, tensors: dict[str, Tensor], expected: dict[str, Tensor]
) -> None:
    """Compare the tensors of a file with those of a network; values have to be possible.

    Raises:
        InputError: names, shapes or kinds of numbers differ; a value is not finite; a variance or
            the standard deviation of photos is not positive.
    """
    for name in sorted(tensors.keys() ^ expected.keys()):
        what = "lacks" if name in expected else "has an unknown"
        raise InputError(f"{path} does not fit its configuration: it {what} {name}; restore it.")
    for name, tensor in tensors.items():
        like = expected[name]
        kinds = FLOATS if like.is_floating_point() else (like.dtype,)
        if tensor.shape != like.shape or tensor.dtype not in kinds:
            found = f"{name} is {tensor.dtype} {tuple(tensor.shape)}"
            wanted = f"{like.dtype} {tuple(like.shape)}"
            raise InputError(f"{path} does not fit its configuration: {found}, expected {wanted}.")
        least = {"running_var": 0.0, "std": 1e-6}.get(name.rpartition(".")[2], -torch.inf)
        if not tensor.isfinite().all() or tensor.min() < least:
            raise InputError(f"{path} has impossible values in {name}: train the network again.")


def initial_net(choice: str | os.PathLike = "") -> MaskDepthNet:
    """The network that a training starts from, in training mode.

    "" is a new one with random weights, "shipped" the one of this package; else a weights file.
    Raises InputError as `load_weights`.
    """
    if not choice:
        return MaskDepthNet()
    return load_weights(WEIGHTS if choice == SHIPPED else typed_path(choice)).train()


def _read(path: str | os.PathLike) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file written by `save_weights`."""
    if not is_file(path):
        raise InputError(
            f"{path} is not there: expected a weights file (.safetensors); "
            "notebook 04 trains one, and eva_helpers/weights holds the shipped ones."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a safetensors file ({error}): expected weights saved by eva_helpers."
        ) from None
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path} holds another network's weights: "
            "expected a file saved by eva_helpers.model.save_weights."
        )
    return metadata, tensors


def _read_config(path: str | os.PathLike, metadata: dict[str, str]) -> ModelConfig:
    """The configuration in the metadata, without the switches of earlier versions."""
    made = f"{path} was made by eva_helpers {metadata.get('version', '0.1')} with"
    try:
        values = ({} if "version" in metadata else OLDER) | json.loads(metadata["config"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"{path} has no readable configuration: train it again.") from None
    for switch, value in SWITCHES.items():
        found = values.pop(switch, value)
        if found != value:
            raise InputError(
                f"{made} {switch} {found}, which only that version or the classes in experiments "
                "can build: install that version, or train the network again."
            )
    unknown = values.keys() - {field.name for field in fields(ModelConfig)}
    if unknown:
        raise InputError(
            f"{made} {', '.join(sorted(unknown))}, which version {__version__} does not know: "
            "update eva_helpers."
        )
    return checked(ModelConfig, values | {"pretrained": False}, f"{path}: configuration")
