"""Real photographs, where they are: the shipped network must beat plain subtraction under real capture differences."""

import numpy as np
import pytest

from eva_helpers import predict
from eva_helpers.images import read_map

pytestmark = pytest.mark.real


def test_a_real_pair_gives_a_mask_of_the_object(real):
    predictor = predict.Predictor.load()
    names = sorted(path.name.removesuffix("_bg.jpg") for path in (real / "quads").glob("park_*_bg.jpg"))
    assert names
    dices = []
    for name in names:
        result = predictor(*(real / "quads" / f"{name}_{part}.jpg" for part in ("bg", "image")))
        truth = read_map(real / "quads" / f"{name}_mask.jpg") > 127
        assert result.mask.shape == result.depth.shape == truth.shape
        found = result.mask > 0.5
        dices.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    assert np.mean(dices) > 0.5
