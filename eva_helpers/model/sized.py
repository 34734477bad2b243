"""Layers that exist twice, for small and for large photos."""

from copy import deepcopy

from torch import Tensor, nn


class Sized(nn.Module):
    """Two copies of a layer, one for small and one for large photos; `is_large` selects.

    In a large photo textures are smoother and outlines a smaller share of the pixels, so features
    are distributed differently and one normalisation fits neither. Slimmable networks switch
    their normalisations by width in the same way (Yu et al., 2019).
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.small = layer
        self.large = deepcopy(layer)
        self.is_large = False  # MaskDepthNet sets it before every pass

    def forward(self, *inputs: Tensor | list[Tensor]) -> Tensor:
        return (self.large if self.is_large else self.small)(*inputs)


def norms(module: nn.Module) -> list[str]:
    """Names of all batch norms of `module`."""
    return [name for name, layer in module.named_modules() if isinstance(layer, nn.BatchNorm2d)]
