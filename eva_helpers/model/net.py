"""MaskDepthNet: one ResNet encoder shared by both photos, a mask decoder and a depth decoder.

At every scale the decoders get the image's features and their difference from the background's:
the difference shows what changed, the features show what is there. Convolutions at full resolution
draw the outline.
"""

import torch
from torch import Tensor, nn

from eva_helpers.model.config import ModelConfig
from eva_helpers.model.decoders import Decoder
from eva_helpers.model.encoders import build_encoder
from eva_helpers.model.matching import match
from eva_helpers.model.refiner import Refiner
from eva_helpers.model.shrinking import shrink
from eva_helpers.model.sized import Sized, norms
from eva_helpers.schemas import MIN_SIDE

MASK_LAYERS = 3  # hidden convolutions of the mask decoder at full resolution
DEPTH_DETAIL = 12  # channels of the depth decoder there: depth has few fine outlines
DEPTH_WIDTH = 64  # px, width at which the depth decoder sees the photos
LARGE = 96  # px, square root of the area from which a photo counts as large (see `Sized`)
MEAN = (0.485, 0.456, 0.406)  # of ImageNet, which pretrained encoders expect
STD = (0.229, 0.224, 0.225)


class MaskDepthNet(nn.Module):
    """Background and image (B, 3, H, W) in [0, 1] -> mask logits and inverse depth, (B, 1, H, W).

    Depth is in [0, 1], near = 1. The mask is computed at the photos' own size, the depth at
    `standard_size` and refined at full resolution. Normalisation is inside, so that every caller
    treats both photos alike. To vary the network, override `match`, `fuse`, `build_decoders`,
    `predict_depth` or `compose_depth`.

    Raises:
        ValueError: unknown encoder; the photos differ in shape, or a side is under 32 px.
    """

    mean: Tensor
    std: Tensor
    mask_decoder: nn.Module
    depth_decoder: nn.Module

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ModelConfig()
        self.encoder = build_encoder(
            config.encoder, config.widths, config.blocks, config.pretrained
        )
        samples = (torch.zeros(1, channels, 1, 1) for channels in self.encoder.channels)
        skips = tuple(self.fuse(sample, sample).shape[1] for sample in samples)
        self.mask_decoder, self.depth_decoder = self.build_decoders(skips)
        if config.sized:
            for name in norms(self.encoder):
                self.encoder.set_submodule(name, Sized(self.encoder.get_submodule(name)))
            self.mask_decoder = Sized(self.mask_decoder)
        self.refiner = Refiner(config.refiner) if config.refiner else None
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def build_decoders(self, skips: tuple[int, ...]) -> tuple[nn.Module, nn.Module]:
        """The decoders of mask and depth for fused features of `skips` channels."""
        mask = Decoder(skips, self.config.decoder, self.config.detail, MASK_LAYERS)
        depth = Decoder(skips, self.config.decoder, DEPTH_DETAIL, coordinates=True, maps=2)
        return mask, depth

    def match(self, background: Tensor, image: Tensor) -> Tensor:
        """The background aligned with the image in tones and position (`matching.match`)."""
        return match(background, image)

    def fuse(self, image: Tensor, background: Tensor) -> Tensor:
        """What the decoders get of the features (B, C, H, W) of both photos: (B, 2 C, H, W)."""
        return torch.cat([image, image - background], dim=1)

    def features(self, background: Tensor, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Fused features per scale, and guides (B, 9, H, W): image, difference, `|difference|`."""
        both = (torch.cat([image, background]) - self.mean) / self.std
        pairs = [_halves(feature) for feature in self.encoder(both)]
        photo, empty = _halves(both)
        guides = torch.cat([photo, photo - empty, (photo - empty).abs()], dim=1)
        # In the features' layout and precision: otherwise every concatenation copies once more.
        guides = guides.to(pairs[0][0].dtype, memory_format=torch.channels_last)
        return [self.fuse(*pair) for pair in pairs], guides

    def forward(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        check_photos(background, image)
        mask_logits, skips, guides = self._mask(self.match(background, image), image)
        # detached: the depth loss must not change the mask
        return mask_logits, self.predict_depth(skips, guides, mask_logits.detach().sigmoid())

    def predict_mask(self, background: Tensor, image: Tensor) -> Tensor:
        """Mask logits for a background that `match` has aligned."""
        self._select(image.shape)
        return self.mask_decoder(*self.features(background, image)).float()

    def predict_layers(self, background: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits, and the depth maps for `compose_depth`, for an aligned background."""
        mask_logits, skips, guides = self._mask(background, image)
        return mask_logits, self.depth_maps(skips, guides)

    def predict_depth(self, skips: list[Tensor], guides: Tensor, mask: Tensor) -> Tensor:
        """Inverse depth from fused features, guides and the mask's probability, (B, 1, H, W)."""
        return self.compose_depth(self.depth_maps(skips, guides), mask)

    def depth_maps(self, skips: list[Tensor], guides: Tensor) -> Tensor:
        """The depth decoder's maps, (B, 2, H, W) in [0, 1]; see `compose_depth`."""
        # float32: far away the depth is 0.02 +- 0.001
        return self.depth_decoder(skips, guides).float().sigmoid()

    def _mask(self, background: Tensor, image: Tensor) -> tuple[Tensor, list[Tensor], Tensor]:
        """Mask logits; features for the depth decoder, at `standard_size`; guides."""
        self._select(image.shape)
        skips, guides = self.features(background, image)
        mask_logits = self.mask_decoder(skips, guides).float()
        size = standard_size(*image.shape[2:])
        if size != tuple(image.shape[2:]):
            self._select(size)
            photos = (shrink(photo, size) for photo in (background, image))
            skips, _ = self.features(*photos)
        return mask_logits, skips, guides

    def compose_depth(self, depth_maps: Tensor, mask: Tensor) -> Tensor:
        """s + m (1 - s) o: the scene's inverse depth s, and within the mask m the object's.

        An object is always in front of what it occludes: o in [0, 1] says how far it is from the
        scene towards the nearest point. The mask draws the edge between the two. `depth_maps`,
        (B, 2, H, W), holds s and o.
        """
        scene, object_share = depth_maps.chunk(2, dim=1)
        return scene + mask * (1 - scene) * object_share

    def _select(self, shape: tuple[int, ...]) -> None:
        """Let the layers that exist twice be those for photos of `shape` (..., H, W)."""
        for layer in self.modules():
            if isinstance(layer, Sized):
                layer.is_large = shape[-2] * shape[-1] >= LARGE**2


def _halves(both: Tensor) -> tuple[Tensor, ...]:
    """(2 B, C, H, W) as two of (B, C, H, W); `chunk` would fix B when the network is exported."""
    return both.unflatten(0, (2, -1)).unbind()


def standard_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which the depth is computed: at most DEPTH_WIDTH wide, sides >= 32 px.

    To a convolution a larger picture looks zoomed in, hence nearer. At one width a slope in pixels
    always means the same distance. The full-resolution layer still sees the photo itself.
    """
    scale = min(1.0, max(DEPTH_WIDTH / width, MIN_SIDE / min(height, width)))
    return round(height * scale), round(width * scale)


def check_photos(background: Tensor, image: Tensor) -> None:
    """Raise ValueError unless both are (B, 3, H, W), equal in shape, with sides >= 32 px."""
    if background.shape != image.shape or image.ndim != 4 or image.shape[1] != 3:
        shapes = f"background is {tuple(background.shape)} and image {tuple(image.shape)}"
        raise ValueError(f"{shapes}: expected the same (B, 3, H, W) twice.")
    height, width = image.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"the photos are {width}x{height}: expected sides of {MIN_SIDE} px up.")
