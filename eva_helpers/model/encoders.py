"""Encoders: (B, 3, H, W) -> features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the resolution."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

TIMM = "timm:"
SCALES = (2, 4, 8, 16, 32)


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm, no activation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 2015), 1x1 where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn(inputs, outputs, 3, stride)
        self.second = conv_bn(outputs, outputs)
        same_shape = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same_shape else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        # Not in place before the sum: that would change what the shortcut adds.
        return F.relu(self.shortcut(x) + self.second(F.relu(self.first(x))))


class SmallEncoder(nn.Module):
    """A small ResNet with `widths` channels and `blocks` residual blocks per scale.

    Its stem moves 2x2 pixels into channels, so that nothing wide runs at full resolution.
    """

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = widths
        self.stem = conv_bn(12, widths[0])
        self.stages = nn.ModuleList()
        before = widths[0]
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = ResidualBlock(before, width, stride=1 if number == 0 else 2)
            rest = [ResidualBlock(width, width) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            before = width

    def forward(self, x: Tensor) -> list[Tensor]:
        # odd sizes get one more row or column
        x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")
        features = [F.relu(self.stem(F.pixel_unshuffle(x, 2)))]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]


class TorchvisionEncoder(nn.Module):
    """torchvision's resnet18 or resnet34 without the classifier; interface as SmallEncoder."""

    def __init__(self, name: str, pretrained: bool) -> None:
        from torchvision.models import get_model  # slow to import, seldom needed

        super().__init__()
        net = get_model(name, weights="DEFAULT" if pretrained else None)
        self.channels = (64, 64, 128, 256, 512)
        self.stem = nn.Sequential(net.conv1, net.bn1, nn.ReLU())
        first = nn.Sequential(net.maxpool, net.layer1)
        self.stages = nn.ModuleList([first, net.layer2, net.layer3, net.layer4])

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [self.stem(x)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class TimmEncoder(nn.Module):
    """A feature extractor of timm, such as "mobilenetv3_small_100"; interface as SmallEncoder.

    Raises:
        ValueError: timm is not installed, does not know the name, or the encoder has not the five
            scales from 1/2 to 1/32 (most transformers and ConvNeXts begin at 1/4).
    """

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        try:
            import timm  # the extra "timm"
        except ImportError:
            raise ValueError("timm is not installed: pip install 'eva-helpers[timm]'.") from None
        try:
            self.net = timm.create_model(name, pretrained=pretrained, features_only=True)
        except RuntimeError as error:
            raise ValueError(f"encoder is 'timm:{name}': {error}.") from None
        features: Any = self.net.feature_info
        scales = tuple(features.reduction())
        if scales != SCALES:
            raise ValueError(
                f"encoder 'timm:{name}' has features at 1/{', 1/'.join(map(str, scales))} of the "
                "size: expected 1/2 to 1/32, because the outline needs the finest."
            )
        self.channels = tuple(features.channels())

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.net(x)


def build_encoder(
    name: str, widths: tuple[int, ...], blocks: tuple[int, ...], pretrained: bool = False
) -> SmallEncoder | TorchvisionEncoder | TimmEncoder:
    """The encoder `name`; arguments as in `ModelConfig`. Raises ValueError for another name."""
    if name == "small":
        return SmallEncoder(widths, blocks)
    if name in ("resnet18", "resnet34"):
        return TorchvisionEncoder(name, pretrained)
    if name.startswith(TIMM):
        return TimmEncoder(name.removeprefix(TIMM), pretrained)
    raise ValueError(f"encoder is {name!r}: expected small, resnet18, resnet34 or timm:NAME.")
