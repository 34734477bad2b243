"""The network for other runtimes: `python -m eva_helpers.export model.onnx` (or `.pt2`).

ONNX runs in onnxruntime, on a server, a phone or in a web page; `.pt2` is torch's own format. The
exported network takes any number of pairs of one size, which is fixed: the depth decoder's size and
the layers for large photos follow from it. It is one pass of the network; the second pass and the
refiner, which draw masks larger than that, are `predict.Predictor`'s.
"""

import argparse
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from eva_helpers import __version__
from eva_helpers.files import InputError, command_line, output_file, write_whole
from eva_helpers.model import MaskDepthNet, load_weights
from eva_helpers.paths import WEIGHTS
from eva_helpers.schemas import Side, check_options, checked

if TYPE_CHECKING:  # the extra "export"
    from onnx import ModelProto

SIZE = (224, 224)  # height, width in px
OPSET = 20
LARGEST = 256  # pairs at a time
LEAST = 64  # values from which a weight is stored in half precision


class MasksAndDepths(nn.Module):
    """`background`, `image` (B, 3, H, W) in [0, 1] -> mask probability and inverse depth."""

    def __init__(self, net: MaskDepthNet) -> None:
        super().__init__()
        self.net = net.eval().cpu()

    def forward(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        mask_logits, depth = self.net(background, image)
        return mask_logits.sigmoid(), depth


def exported(net: MaskDepthNet, size: tuple[int, int] = SIZE) -> torch.export.ExportedProgram:
    """The network as a graph for pairs of `size` (height, width).

    Raises:
        InputError: a side is out of range.
    """
    size = checked(tuple[Side, Side], size, "the size")
    pairs = (torch.rand(2, 3, *size), torch.rand(2, 3, *size))
    batch = {0: torch.export.Dim("pairs", min=1, max=LARGEST)}
    with torch.no_grad():
        return torch.export.export(MasksAndDepths(net), pairs, dynamic_shapes=(batch, batch))


def export_program(
    net: MaskDepthNet, path: str | os.PathLike, size: tuple[int, int] = SIZE
) -> Path:
    """Write torch's own format, which `torch.export.load` reads. Raises InputError."""
    content = io.BytesIO()
    torch.export.save(exported(net, size), content)
    return write_whole(path, content.getvalue())


def export_onnx(
    net: MaskDepthNet, path: str | os.PathLike, size: tuple[int, int] = SIZE, half: bool = False
) -> Path:
    """Write ONNX with inputs `background` and `image`, outputs `mask` and `depth`.

    `half` stores the weights in half precision: half the file; what is computed stays float32.

    Raises:
        InputError: as `exported`, the extra "export" is not installed, or the file cannot be
            written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError(f"{error}: pip install 'eva-helpers[export]'.") from None
    made = torch.onnx.export(
        exported(net, size), input_names=["background", "image"], output_names=["mask", "depth"],
        opset_version=OPSET, verbose=False,
    )  # fmt: skip
    assert made is not None
    model = made.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # where in the source it comes from: a sixth of the file
    if half:
        halve(model)
    about = {"eva_helpers": __version__, "height": str(size[0]), "width": str(size[1])}
    for name, value in about.items():
        model.metadata_props.add(key=name, value=value)
    onnx.checker.check_model(model)
    return write_whole(path, model.SerializeToString())


def halve(model: "ModelProto") -> None:
    """Store large weights in half precision, each followed by a cast to float32.

    Other constants, such as the coordinates of pixels, need all their digits.
    """
    import onnx

    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if not weight.name.startswith("net.") or values.size < LEAST:
            continue
        name = weight.name
        stored = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        weight.CopyFrom(stored)
        cast = onnx.helper.make_node("Cast", [stored.name], [name], to=onnx.TensorProto.FLOAT)
        model.graph.node.insert(0, cast)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Write the network for onnxruntime (.onnx) or torch.export (.pt2)."""
    parser = argparse.ArgumentParser("python -m eva_helpers.export", description=main.__doc__)
    parser.add_argument("file", type=output_file, help="ends with .onnx or .pt2")
    parser.add_argument("--weights", help="weights file (default: the shipped one)")
    parser.add_argument("--width", type=int, default=SIZE[1], help="px (default: %(default)s)")
    parser.add_argument("--height", type=int, default=SIZE[0], help="px (default: %(default)s)")
    parser.add_argument("--half", action="store_true", help="ONNX: weights in half precision")
    options = parser.parse_args(arguments)
    check_options(options, width=Side, height=Side)
    if options.file.suffix not in (".onnx", ".pt2"):
        raise InputError(f"{options.file} has another ending: expected .onnx or .pt2.")
    if options.half and options.file.suffix != ".onnx":
        raise InputError("--half is for ONNX: leave it out, or write a file that ends with .onnx.")
    net = load_weights(options.weights or WEIGHTS)
    size = (options.height, options.width)
    if options.file.suffix == ".onnx":
        export_onnx(net, options.file, size, options.half)
    else:
        export_program(net, options.file, size)
    weight = options.file.stat().st_size / 1e6
    print(f"{options.file}: {weight:.1f} MB, any number of pairs of {size[1]}x{size[0]} px")


if __name__ == "__main__":
    sys.exit(main())
