"""A network that takes the loss weights as an input."""

from typing import Self

import torch
from torch import Tensor, nn

from eva_helpers.model.config import ModelConfig
from eva_helpers.model.net import MaskDepthNet

CONDITIONED_TERMS = ("mask", "ssim", "edge", "l1")  # loss terms whose weights are the input
LEAST_WEIGHT = 1e-3  # smaller weights count as this one
RATIO = 0.25  # scale of the log ratios: usual and extreme ones then lie in the range of tanh


class FiLM(nn.Module):
    """A layer with its output scaled and shifted per channel by a code (Perez et al., 2018).

    The code 0 changes nothing, nor does None.
    """

    def __init__(self, layer: nn.Module, channels: int, hidden: int) -> None:
        super().__init__()
        self.layer = layer
        self.to_film = nn.Linear(hidden, 2 * channels, bias=False)
        nn.init.zeros_(self.to_film.weight)
        # (B, hidden), or (1, hidden) for the whole batch; ConditionalNet sets it for every pass
        self.code: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.code is None:
            return self.layer(x)
        film = self.to_film(self.code)
        if len(film) > 1:
            film = film.repeat(len(x) // len(film), 1)  # the encoder sees both photos of a pair
        scale, shift = film[..., None, None].chunk(2, dim=1)
        return self.layer(x) * (1 + scale) + shift


class ConditionalNet(MaskDepthNet):
    """One network for every weighting of the losses (Dosovitskiy and Djolonga, ICLR 2020).

    "You Only Train Once": a vector of loss weights, (B, 4) or (4,), non-negative with sum 1 (see
    `losses.weight_vector`), modulates the encoder, which both tasks share, and the depth decoder,
    which the depth's terms share. The mask decoder has only one loss, so its weight changes nothing
    there. The input of the modulation is the log ratio to the `usual` weights, and no layer has a
    bias: at the usual weights, and without a vector, the outputs are exactly the ordinary
    network's, and opposite deviations modulate oppositely.

    `start`, an ordinary network of the same configuration, provides weights and statistics. They
    stay frozen: training them too made all outputs worse, by more than a weighting changes them.
    """

    HIDDEN = 64
    usual: Tensor

    def __init__(self, config: ModelConfig, start: MaskDepthNet | None = None) -> None:
        super().__init__(config)
        if start is not None:
            self.load_state_dict(start.state_dict())
        self.requires_grad_(False)
        count = len(CONDITIONED_TERMS)
        sizes = ((count, self.HIDDEN), (self.HIDDEN, self.HIDDEN))
        layers = [(nn.Linear(*size, bias=False), nn.Tanh()) for size in sizes]
        self.embed = nn.Sequential(*layers[0], *layers[1])
        for part in (self.encoder, self.depth_decoder):
            for name, layer in list(part.named_modules()):
                if isinstance(layer, nn.BatchNorm2d):
                    part.set_submodule(name, FiLM(layer, layer.num_features, self.HIDDEN))
                elif isinstance(layer, nn.Conv2d) and "detail" in name:  # no normalisations there
                    part.set_submodule(name, FiLM(layer, layer.out_channels, self.HIDDEN))
        self.register_buffer("usual", torch.full((count,), 1 / count))
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: the normalisations keep their statistics."""
        return super().train(False)

    def forward(
        self, background: Tensor, image: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        condition = (self.usual if condition is None else condition).to(image.device)
        usual = self.usual.clamp_min(LEAST_WEIGHT)
        ratios = (condition.clamp_min(LEAST_WEIGHT) / usual).log().reshape(-1, len(usual))
        code = self.embed(RATIO * (ratios - ratios.mean(-1, keepdim=True)))
        self._modulate(code)
        try:
            return super().forward(background, image)
        finally:
            self._modulate(None)  # a kept code would keep its graph, and could not be copied

    def _modulate(self, code: Tensor | None) -> None:
        for layer in self.modules():
            if isinstance(layer, FiLM):
                layer.code = code
