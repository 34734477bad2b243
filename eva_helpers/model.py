"""The network: one ResNet encoder shared by both photos, two light decoders, one for the mask and one for the depth.

Both photos pass through the encoder in one batch. At every scale the decoders see the image's features and their difference to
the background's: the difference says *what changed*, the features say *what is there*. A thin layer at full resolution draws the
outline. Everything is convolutional; maps are resized to the skip's size, so any height and width from 32 px works.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from eva_helpers.matching import match

SMALLEST = 32
DEPTH_DETAIL = 12  # channels of the depth decoder at full resolution: depth has few fine outlines
DEPTH_WIDTH = 64  # px at which the depth decoder sees the photos
LARGE = 96  # px (the square root of the area) from which a photo is a large one (see `Sized`)
CONDITIONS = 4  # loss weights that a conditional network takes: mask, ssim, edge, l1
LEAST_WEIGHT = 1e-3  # smaller ones, and none, are alike to it
RATIO = 0.25  # of the logarithms of weights, so that usual and extreme ones lie within the reach of a tanh
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, so that pretrained encoders see what they expect
FUSIONS = {  # features of image and background, (B, C, H, W) each, to what the decoders get
    "image+difference": lambda f, b: torch.cat([f, f - b], dim=1),
    "both": lambda f, b: torch.cat([f, b], dim=1),
    "difference": lambda f, b: f - b,
}


@dataclass(frozen=True)
class ModelConfig:
    """What a network is built from.

    Args:
        encoder: "small" (trained from scratch; works at half resolution inside), "resnet18" or "resnet34" (torchvision's).
        widths: channels of the small encoder at 1/2, 1/4, 1/8, 1/16 and 1/32.
        blocks: residual blocks per scale of the small encoder.
        decoder: channels of each decoder at 1/2, 1/4, 1/8, 1/16 (from fine to coarse).
        detail, detail_layers: channels and number of the mask decoder's convolutions at full resolution.
        fusion: what the decoders see of a pair of features: "image+difference" (the image's and image minus background),
            "both" (the image's and the background's) or "difference" alone.
        matched: whether the background is first made as alike to the image as exposure and camera shake allow (`matching.match`).
        coordinates: whether the depth decoder is told where in the frame a place is.
        layered: whether the depth is a scene's, and in front of it the object's where the mask is (see `MaskDepthNet`).
        sized: whether large photos have normalisations of the encoder, and a mask decoder, of their own (see `Sized`).
        conditional: whether the loss weights are an input of the network (`ConditionalNet`).
        cross_talk: whether the depth's full-resolution layer also sees the predicted mask.
        pretrained: load torchvision's ImageNet weights into a resnet encoder (a download, hence never unasked).
    """

    encoder: str = "small"
    widths: tuple[int, ...] = (24, 48, 80, 128, 160)
    blocks: tuple[int, ...] = (1, 1, 2, 2, 1)
    decoder: tuple[int, ...] = (32, 48, 64, 96)
    detail: int = 16
    detail_layers: int = 3
    fusion: str = "image+difference"
    matched: bool = True
    coordinates: bool = True
    layered: bool = True
    sized: bool = False
    cross_talk: bool = False
    conditional: bool = False
    pretrained: bool = False

    def to_dict(self) -> dict:
        """Plain values, for the weights file."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict) -> ModelConfig:
        """The inverse of `to_dict`; unknown keys raise TypeError. Files that lack a switch are older than it."""
        values = {"coordinates": False, "matched": False, "layered": False} | values
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm, no activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs))


class Sized(nn.Module):
    """Two copies of a layer, one for small photos and one for large ones (Yu et al., 2019, "Slimmable Neural Networks", switch their
    normalisations by width in this way).

    In a large photo the same tree is smoother and the same outline a smaller share of all pixels: what a filter answers is distributed
    otherwise, and one normalisation for both is right for neither.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.small, self.large = layer, deepcopy(layer)
        self.is_large = False  # set by MaskDepthNet before every pass

    def forward(self, *inputs: Tensor | list[Tensor]) -> Tensor:
        return (self.large if self.is_large else self.small)(*inputs)


def norms(module: nn.Module) -> list[str]:
    """Names of all normalisations of `module`."""
    return [name for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., 2015); the shortcut is a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first, self.second = conv_bn(inputs, outputs, 3, stride), conv_bn(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        # Not in place before the sum: an in-place activation here would change what the shortcut adds.
        return F.relu(self.shortcut(x) + self.second(F.relu(self.first(x))))


class SmallEncoder(nn.Module):
    """A small ResNet. The stem moves 2x2 pixels into channels, so that nothing wide runs at full resolution.

    Takes (B, 3, H, W), returns features at 1/2, 1/4, 1/8, 1/16 and 1/32.
    """

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = widths
        self.stem = conv_bn(12, widths[0])
        stages, before = [], widths[0]
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            first = ResidualBlock(before, width, stride=1 if number == 0 else 2)
            stages.append(nn.Sequential(first, *(ResidualBlock(width, width) for _ in range(count - 1))))
            before = width
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")  # odd sizes: one more row or column
        x = F.relu(self.stem(F.pixel_unshuffle(x, 2)))
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class TorchvisionEncoder(nn.Module):
    """torchvision's resnet18 / resnet34 without its classifier; same interface as SmallEncoder."""

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        net = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
        self.channels = (64, 64, 128, 256, 512)
        self.stem = nn.Sequential(net.conv1, net.bn1, nn.ReLU())
        self.stages = nn.ModuleList([nn.Sequential(net.maxpool, net.layer1), net.layer2, net.layer3, net.layer4])

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [self.stem(x)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class UpBlock(nn.Module):
    """Resize to the skip's size, add the projected skip, one 3x3 convolution. Resizing leaves no checkerboard in the depth."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.reduce, self.skip = nn.Conv2d(inputs, outputs, 1), nn.Conv2d(skip, outputs, 1, bias=False)
        self.norm, self.conv = nn.BatchNorm2d(outputs), conv_bn(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        # 1x1 first, resize after: both are linear, and this order resizes fewer channels.
        x = F.interpolate(self.reduce(x), size=skip.shape[2:], mode="bilinear", align_corners=False)
        return F.relu(self.conv(F.relu(self.norm(x + self.skip(skip)))))


def positions(x: Tensor) -> Tensor:
    """Row and column of every place, -1 to 1 across the frame, as two channels (B, 2, H, W) (Liu et al., 2018, "CoordConv").

    How far away the ground is follows from how far below the horizon it is seen, as a share of the frame. In pixels that is another
    number at every size, and a convolution counts pixels.
    """
    rows, columns = (torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in x.shape[2:])
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(x), -1, -1, -1)
    return grid.contiguous(memory_format=torch.channels_last)


class Decoder(nn.Module):
    """From the fused features at 1/32 ... 1/2 and `guides` full-resolution channels to `maps` maps (B, maps, H, W) of logits.

    `located` adds to every scale where in the frame a place is (see `positions`).
    """

    def __init__(
        self,
        skips: tuple[int, ...],
        widths: tuple[int, ...],
        detail: int,
        layers: int = 1,
        guides: int = 9,
        located: bool = False,
        maps: int = 1,
    ) -> None:
        super().__init__()
        self.located = located
        skips = tuple(channels + 2 * located for channels in skips)
        self.bottom = conv_bn(skips[-1], widths[-1], 1)
        inputs = (*widths[1:], widths[-1])
        self.ups = nn.ModuleList(UpBlock(i, s, o) for i, s, o in zip(inputs, skips[:-1], widths, strict=True))
        self.to_detail = nn.Conv2d(widths[0], detail, 1)
        hidden = [(detail + guides if number == 0 else detail, detail) for number in range(layers)]
        convolutions = [nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU()) for i, o in hidden]
        self.detail = nn.Sequential(*convolutions, nn.Conv2d(detail, maps, 3, padding=1))

    def forward(self, skips: list[Tensor], guides: Tensor) -> Tensor:
        if self.located:
            skips = [torch.cat([skip, positions(skip)], dim=1) for skip in skips]
        x = F.relu(self.bottom(skips[-1]))
        for up, skip in zip(reversed(self.ups), reversed(skips[:-1]), strict=True):
            x = up(x, skip)
        x = F.interpolate(self.to_detail(x), size=guides.shape[2:], mode="bilinear", align_corners=False)
        return self.detail(torch.cat([x.to(guides.dtype), guides], dim=1))


def standard_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which the depth is thought about: the photo's, but no wider than DEPTH_WIDTH (and no side under 32 px).

    To a convolution, a larger picture looks like one that was zoomed into, and so nearer. At one width, every slope of the ground in pixels
    means one distance, and a photo of any size is like those of the training. The full-resolution layer then sees the photo itself.
    """
    scale = min(1.0, max(DEPTH_WIDTH / width, SMALLEST / min(height, width)))
    return round(height * scale), round(width * scale)


class MaskDepthNet(nn.Module):
    """Background and image (B, 3, H, W) in [0, 1] -> `mask_logits` (B, 1, H, W) and `depth` (B, 1, H, W) in [0, 1], near = 1.

    The mask is found at the photos' own size; the depth at a standard one (`standard_size`), and drawn at full resolution.

    An object is always before what it hides. So (with `layered`) the depth decoder answers twice, with the scene's nearness s and with how
    much of the way from there to the nearest the object stands in front, o: depth = s + m * (1 - s) * o, m being the mask's probability.
    The edge between the two is then the mask's. No gradient goes from the depth into the mask.

    Normalisation is inside, as buffers, so that no caller can forget it or treat the two photos differently.

    Raises:
        ValueError: the photos differ in shape, or a side is under 32 px.
    """

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        if config.encoder == "small":
            self.encoder = SmallEncoder(config.widths, config.blocks)
        elif config.encoder in ("resnet18", "resnet34"):
            self.encoder = TorchvisionEncoder(config.encoder, config.pretrained)
        else:
            raise ValueError(f"encoder is {config.encoder!r}: expected small, resnet18 or resnet34.")
        if config.fusion not in FUSIONS:
            raise ValueError(f"fusion is {config.fusion!r}: expected one of {', '.join(FUSIONS)}.")
        skips = tuple((1 if config.fusion == "difference" else 2) * channels for channels in self.encoder.channels)
        self.mask_decoder = Decoder(skips, config.decoder, config.detail, config.detail_layers)
        guides, maps = 10 if config.cross_talk else 9, 2 if config.layered else 1
        self.depth_decoder = Decoder(skips, config.decoder, DEPTH_DETAIL, 1, guides, config.coordinates, maps)
        if config.sized:
            for name in norms(self.encoder):
                self.encoder.set_submodule(name, Sized(self.encoder.get_submodule(name)))
            self.mask_decoder = Sized(self.mask_decoder)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def features(self, background: Tensor, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Fused skips per scale (see `ModelConfig.fusion`), and the normalised image with its difference, signed and not (B, 9, H, W)."""
        both = (torch.cat([image, background]) - self.mean) / self.std
        pairs = [feature.chunk(2) for feature in self.encoder(both)]
        photo, empty = both.chunk(2)
        guides = torch.cat([photo, photo - empty, (photo - empty).abs()], dim=1)
        # In the layout and precision of the features: else every join of the two is copied once more, forwards and backwards.
        guides = guides.to(pairs[0][0].dtype, memory_format=torch.channels_last)
        return [FUSIONS[self.config.fusion](f, b) for f, b in pairs], guides

    def forward(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        check_photos(background, image)
        if self.config.matched:
            background = match(background, image)
        self._expect(image.shape[2] * image.shape[3] >= LARGE**2)
        skips, photos = self.features(background, image)
        mask_logits = self.mask_decoder(skips, photos)
        small = standard_size(*image.shape[2:])
        if small != image.shape[2:]:
            self._expect(large=False)
            skips, _ = self.features(*(F.interpolate(photo, size=small, mode="area") for photo in (background, image)))
        # float32: bf16 keeps three digits only, and far away the depth is 0.02 +- 0.001
        mask_logits = mask_logits.float()
        mask = mask_logits.detach().sigmoid()  # detached: the depth must not bend the mask
        if self.config.cross_talk:
            photos = torch.cat([photos, mask], dim=1)
        depth = self.depth_decoder(skips, photos).float().sigmoid()
        if self.config.layered:
            scene, before = depth.chunk(2, dim=1)
            depth = scene + mask * (1 - scene) * before
        return mask_logits, depth

    def _expect(self, large: bool) -> None:
        for layer in self.modules():
            if isinstance(layer, Sized):
                layer.is_large = large


def with_sizes(net: MaskDepthNet) -> MaskDepthNet:
    """The same network, `sized`: at first both copies of what is doubled are that network's, and so are all answers."""
    twin, weights = MaskDepthNet(replace(net.config, sized=True)), net.state_dict()
    twin.load_state_dict({name: weights[name.replace(".small.", ".").replace(".large.", ".")] for name in twin.state_dict()})
    return twin.train(net.training)


def without_sizes(net: MaskDepthNet) -> MaskDepthNet:
    """The ordinary network that a `sized` one is for small photos; an ordinary one's twin."""
    twin = MaskDepthNet(replace(net.config, sized=False))
    twin.load_state_dict({name.replace(".small.", "."): value for name, value in net.state_dict().items() if ".large." not in name})
    return twin.train(net.training)


class FiLM(nn.Module):
    """A layer whose output is scaled and shifted per channel by a code (Perez et al., 2018); code 0 leaves it as it was."""

    def __init__(self, layer: nn.Module, channels: int, hidden: int) -> None:
        super().__init__()
        self.layer, self.to_film = layer, nn.Linear(hidden, 2 * channels, bias=False)
        nn.init.zeros_(self.to_film.weight)
        self.code: Tensor | None = None  # (B, hidden), or (1, hidden) for all; set by ConditionalNet before every pass

    def forward(self, x: Tensor) -> Tensor:
        film = self.to_film(self.code)
        if len(film) > 1:
            film = film.repeat(len(x) // len(film), 1)  # the encoder sees both photos of every pair
        scale, shift = film[..., None, None].chunk(2, dim=1)
        return self.layer(x) * (1 + scale) + shift


class ConditionalNet(MaskDepthNet):
    """One network for every weighting of the losses (Dosovitskiy and Djolonga, "You Only Train Once", ICLR 2020).

    A vector of CONDITIONS weights, (B, 4) or (4,), non-negative with sum 1 (see `losses.condition`), goes through a small network and
    modulates the encoder, for which the two tasks compete, and the depth decoder, for which the depth's terms do. The mask decoder has
    one loss, whatever its weight: from the same features its best answer is the same. The small network sees by which factor the weights'
    proportions differ from the `usual` ones, in logarithms. It has no constant terms: at the usual weighting, and without a vector, the
    answers are exactly the ordinary network's, and opposite deviations modulate oppositely.

    `start` is an ordinary network of the same configuration, whose weights are taken over and kept, its normalisations' statistics too:
    only the modulation is trained. Training everything made all answers worse, by more than a weighting changes them.
    """

    HIDDEN = 64

    def __init__(self, config: ModelConfig, start: MaskDepthNet | None = None) -> None:
        super().__init__(config)
        if start is not None:
            self.load_state_dict(start.state_dict())
        self.requires_grad_(False)
        first, second = (nn.Linear(inputs, self.HIDDEN, bias=False) for inputs in (CONDITIONS, self.HIDDEN))
        self.embed = nn.Sequential(first, nn.Tanh(), second, nn.Tanh())
        for part in (self.encoder, self.depth_decoder):
            for name, layer in list(part.named_modules()):
                if isinstance(layer, nn.BatchNorm2d):
                    part.set_submodule(name, FiLM(layer, layer.num_features, self.HIDDEN))
                elif isinstance(layer, nn.Conv2d) and "detail" in name:  # at full resolution there are no normalisations
                    part.set_submodule(name, FiLM(layer, layer.out_channels, self.HIDDEN))
        self.register_buffer("usual", torch.full((CONDITIONS,), 1 / CONDITIONS))
        self.eval()

    def train(self, mode: bool = True) -> ConditionalNet:
        """Stays in evaluation mode: the normalisations keep their statistics."""
        return super().train(False)

    def forward(self, background: Tensor, image: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        condition = (self.usual if condition is None else condition).to(image.device)
        ratios = (condition.clamp_min(LEAST_WEIGHT) / self.usual.clamp_min(LEAST_WEIGHT)).log()
        code = self.embed(RATIO * (ratios - ratios.mean(-1, keepdim=True)).reshape(-1, CONDITIONS))
        for layer in self.modules():
            if isinstance(layer, FiLM):
                layer.code = code
        return super().forward(background, image)


def build(config: ModelConfig) -> MaskDepthNet:
    """The network that a configuration describes."""
    return ConditionalNet(config) if config.conditional else MaskDepthNet(config)


def check_photos(background: Tensor, image: Tensor) -> None:
    """Raise ValueError unless both are (B, 3, H, W) alike with sides of at least 32 px."""
    if background.shape != image.shape or image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"background is {tuple(background.shape)} and image {tuple(image.shape)}: expected the same (B, 3, H, W) twice.")
    if min(image.shape[2:]) < SMALLEST:
        raise ValueError(f"the photos are {image.shape[3]}x{image.shape[2]}: expected at least {SMALLEST} px a side.")


def parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def multiply_adds(net: nn.Module, size: int = 64) -> int:
    """Multiply-adds of the convolutions and linear layers for one pair of photos of `size` px."""
    total = 0

    def count(layer: nn.Module, _: tuple, output: Tensor) -> None:
        nonlocal total
        per_value = layer.weight[0].numel()
        total += output.numel() * per_value

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    training = net.training
    with torch.no_grad():
        photo = torch.zeros(1, 3, size, size)
        net.eval()(photo, photo)
    net.train(training)
    for hook in hooks:
        hook.remove()
    return total


def receptive_field(net: nn.Module, size: int = 256) -> int:
    """Side in px of the input square that moves the centre of the outputs, measured by gradient (batch norm frozen)."""
    training = net.training
    photos = torch.rand(2, 1, 3, size, size, requires_grad=True)
    net.eval()
    mask_logits, depth = net(photos[0], photos[1])
    (mask_logits + depth)[..., size // 2, size // 2].sum().backward()
    net.train(training)
    touched = photos.grad.abs().sum((0, 1, 2)) > 0
    rows = torch.nonzero(touched.any(1)).flatten()
    return int(rows[-1] - rows[0] + 1)
