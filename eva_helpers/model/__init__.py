"""The network: two photos to a mask and a depth map, its weights files, inference and cost."""

from eva_helpers.model.conditional import CONDITIONED_TERMS, ConditionalNet, FiLM
from eva_helpers.model.decoders import Decoder, UpBlock, coordinates
from eva_helpers.model.encoders import ResidualBlock, SmallEncoder, TorchvisionEncoder
from eva_helpers.model.inference import inference
from eva_helpers.model.matching import match
from eva_helpers.model.net import (
    MaskDepthNet,
    ModelConfig,
    standard_size,
    with_sizes,
    without_sizes,
)
from eva_helpers.model.profile import multiply_adds, parameters, receptive_field
from eva_helpers.model.sized import Sized, norms
from eva_helpers.model.weights import build, load_weights, save_weights, weights_file

__all__ = [
    "CONDITIONED_TERMS", "ConditionalNet", "Decoder", "FiLM", "MaskDepthNet", "ModelConfig",
    "ResidualBlock", "Sized", "SmallEncoder", "TorchvisionEncoder", "UpBlock", "build",
    "coordinates", "inference", "load_weights", "match", "multiply_adds", "norms", "parameters",
    "receptive_field", "save_weights", "standard_size", "weights_file", "with_sizes",
    "without_sizes",
]  # fmt: skip
