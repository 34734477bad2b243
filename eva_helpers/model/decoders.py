"""The decoder: fused features of five scales -> maps at full resolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eva_helpers.model.encoders import conv_bn


class UpBlock(nn.Module):
    """Resize to the skip's size, add the projected skip, one 3x3 convolution.

    Resizing instead of a transposed convolution leaves no checkerboard in the depth.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.skip = nn.Conv2d(skip, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.conv = conv_bn(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        # 1x1 first, then resize: both are linear, and this order resizes fewer channels.
        x = F.interpolate(self.reduce(x), skip.shape[2:], mode="bilinear", align_corners=False)
        return F.relu(self.conv(F.relu(self.norm(x + self.skip(skip)))))


def coordinates(x: Tensor) -> Tensor:
    """Row and column of every pixel of (B, C, H, W), from -1 to 1 across the frame, (B, 2, H, W).

    CoordConv (Liu et al., 2018). The distance of a point on the ground follows from its height in
    the frame. Convolutions count pixels, and in pixels that height depends on the image's size.
    """
    rows, columns = (torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:])
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(x.shape[0], -1, -1, -1)
    return grid.contiguous(memory_format=torch.channels_last)


class Decoder(nn.Module):
    """Features at 1/2 ... 1/32 and guides (B, G, H, W) -> logits (B, maps, H, W).

    Args:
        skips: channels of the features, from fine to coarse.
        widths: channels of the decoder at 1/2, 1/4, 1/8 and 1/16.
        detail: channels at full resolution.
        layers: hidden convolutions at full resolution.
        guides: channels of the full-resolution input (see `MaskDepthNet.features`).
        coordinates: whether every scale also gets `coordinates`.
        maps: number of output maps.
    """

    def __init__(
        self, skips: tuple[int, ...], widths: tuple[int, ...], detail: int, layers: int = 1,
        guides: int = 9, coordinates: bool = False, maps: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.coordinates = coordinates
        skips = tuple(channels + 2 * coordinates for channels in skips)
        self.bottom = conv_bn(skips[-1], widths[-1], 1)
        blocks = zip((*widths[1:], widths[-1]), skips[:-1], widths, strict=True)
        self.ups = nn.ModuleList(UpBlock(*channels) for channels in blocks)
        self.to_detail = nn.Conv2d(widths[0], detail, 1)
        inputs = [detail + guides, *[detail] * (layers - 1)]
        hidden = [nn.Sequential(nn.Conv2d(i, detail, 3, padding=1), nn.ReLU()) for i in inputs]
        self.detail = nn.Sequential(*hidden, nn.Conv2d(detail, maps, 3, padding=1))

    def forward(self, skips: list[Tensor], guides: Tensor) -> Tensor:
        if self.coordinates:
            skips = [torch.cat([skip, coordinates(skip)], dim=1) for skip in skips]
        x = F.relu(self.bottom(skips[-1]))
        for up, skip in zip(reversed(self.ups), reversed(skips[:-1]), strict=True):
            x = up(x, skip)
        x = self.to_detail(x)
        x = F.interpolate(x, guides.shape[2:], mode="bilinear", align_corners=False)
        return self.detail(torch.cat([x.to(guides.dtype), guides], dim=1))
