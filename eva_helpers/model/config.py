"""What a network is made of."""

from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of a network.

    Args:
        encoder: "small" (trained from scratch, half resolution inside), "resnet18", "resnet34", or
            "timm:NAME" for one of timm's with features from 1/2 to 1/32.
        widths: channels of the small encoder at 1/2, 1/4, 1/8, 1/16 and 1/32.
        blocks: residual blocks per scale of the small encoder.
        decoder: channels of both decoders at 1/2, 1/4, 1/8 and 1/16.
        detail: channels of the mask decoder at full resolution.
        sized: whether large photos have their own encoder normalisations and mask decoder.
        refiner: channels of the refiner, which sharpens enlarged masks; 0 for none.
        pretrained: start another than the small encoder from ImageNet weights; downloads them.
    """

    encoder: str = "small"
    widths: tuple[int, ...] = (24, 48, 80, 128, 160)
    blocks: tuple[int, ...] = (1, 1, 2, 2, 1)
    decoder: tuple[int, ...] = (32, 48, 64, 96)
    detail: int = 16
    sized: bool = False
    refiner: int = 0
    pretrained: bool = False

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        values = asdict(self).items()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values}

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """The inverse of `to_dict`. Raises TypeError for unknown keys."""
        tuples = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**values | tuples)
