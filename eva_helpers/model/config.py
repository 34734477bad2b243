"""What a network is made of."""

from dataclasses import asdict, dataclass
from typing import Annotated, Self

from pydantic import ConfigDict, Field

from eva_helpers.schemas import Flag, Whole, check_fields, checked

ENCODERS = r"^(small|resnet18|resnet34|timm:\w[\w.]{0,99})$"  # a name, never an address
Channels = Annotated[Whole, Field(ge=1, le=1024)]
Blocks = Annotated[Whole, Field(ge=1, le=64)]


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

    Raises:
        InputError: a value is out of range; so a network from a stranger's file stays small.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    encoder: Annotated[str, Field(pattern=ENCODERS)] = "small"
    widths: tuple[Channels, Channels, Channels, Channels, Channels] = (24, 48, 80, 128, 160)
    blocks: tuple[Blocks, Blocks, Blocks, Blocks, Blocks] = (1, 1, 2, 2, 1)
    decoder: tuple[Channels, Channels, Channels, Channels] = (32, 48, 64, 96)
    detail: Channels = 16
    sized: Flag = False
    refiner: Annotated[Whole, Field(ge=0, le=1024)] = 0
    pretrained: Flag = False

    def __post_init__(self) -> None:
        check_fields(self)

    def to_dict(self) -> dict:
        """Plain values, ready for JSON."""
        values = asdict(self).items()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values}

    @classmethod
    def from_dict(cls, values: dict) -> Self:
        """The inverse of `to_dict`. Raises InputError also for unknown keys."""
        return checked(cls, values, "the configuration of the network")
