"""The network: two photos to a mask and a depth map, its weights files, inference and cost."""

from eva_helpers.model.config import ModelConfig
from eva_helpers.model.decoders import Decoder, UpBlock, coordinates
from eva_helpers.model.encoders import ResidualBlock, SmallEncoder, TorchvisionEncoder
from eva_helpers.model.inference import inference
from eva_helpers.model.matching import Match, fit, match
from eva_helpers.model.narrow import NarrowNet
from eva_helpers.model.net import MaskDepthNet, standard_size
from eva_helpers.model.parts import with_refiner, with_sizes
from eva_helpers.model.profile import multiply_adds, parameters, receptive_field
from eva_helpers.model.refiner import Refiner
from eva_helpers.model.sized import Sized, norms
from eva_helpers.model.weights import initial_net, load_weights, save_weights, weights_file

__all__ = [
    "Decoder", "MaskDepthNet", "Match", "ModelConfig", "NarrowNet", "Refiner",
    "ResidualBlock", "Sized", "SmallEncoder", "TorchvisionEncoder", "UpBlock", "coordinates", "fit",
    "inference", "initial_net", "load_weights", "match", "multiply_adds", "norms", "parameters",
    "receptive_field", "save_weights", "standard_size", "weights_file", "with_refiner",
    "with_sizes",
]  # fmt: skip
