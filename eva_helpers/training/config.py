"""Settings of a training, and all that decides its result."""

from dataclasses import asdict, dataclass
from typing import Any

from eva_helpers.schemas import Balancing, Count, Positive, Seed, Share, Weight, check_fields


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training.

    `lr` is the peak of the one-cycle schedule. `ema` is the decay of the averaged weights, which
    are evaluated and kept; 1 / (1 - ema) should be few of all steps. `balance` is one of
    `losses.BALANCES`. `seed` is recorded, not applied: seed torch before building the network.
    `minutes` limits the training to as many of the epochs as this machine trains and validates in
    that time: at least one, of fewer steps if need be (0: no limit). `save_minutes` is the time
    after which the state is saved within an epoch, too (0: only after epochs). Raises InputError
    for a value out of range.
    """

    epochs: Count = 10
    lr: Positive = 3e-3
    weight_decay: Weight = 0.02
    ema: Share = 0.99
    clip: Positive = 1.0
    balance: Balancing = "fixed"
    seed: Seed = 0
    minutes: Weight = 0.0
    save_minutes: Weight = 5.0

    def __post_init__(self) -> None:
        check_fields(self)


def all_settings(config: TrainingConfig, **groups: dict[str, Any]) -> dict[str, Any]:
    """What decides the result: the fields of `config`, and those of nested `groups`.

    Names of nested groups are joined by blanks.
    """
    values = asdict(config)
    del values["save_minutes"]
    return values | _flat(groups, "")


def _flat(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in settings.items():
        nested = isinstance(value, dict)
        result |= _flat(value, f"{prefix}{name} ") if nested else {prefix + name: value}
    return result
