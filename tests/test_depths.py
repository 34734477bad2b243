"""Depth files in the encodings that programs write are read on one scale, or refused."""

import cv2
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from eva_helpers.files import InputError
from eva_helpers.images import DepthReader, depth_reader

FAR = np.tile(np.linspace(1, 0.1, 96)[:, None], (1, 96))
FAR[30:60, 40:70] = 0.05


def read(path, white=None):
    return depth_reader([path], white)(path, 96)


def save(path, data):
    Image.fromarray(data).save(path)
    return path


def mapped(name):
    if name.startswith("cv2 "):
        number = getattr(cv2, f"COLORMAP_{name[4:]}")
        return cv2.applyColorMap(np.rint(255 * FAR).astype(np.uint8), number)[..., ::-1].copy()
    return (255 * colormaps[name](FAR)[..., :3]).astype(np.uint8)


GREY = {
    "8 bits": (255 * FAR).astype(np.uint8),
    "16 bits": (65535 * FAR).astype(np.uint16),
    "three channels": np.dstack([(255 * FAR).astype(np.uint8)] * 3),
    "12 bits of 16, full": np.rint(4095 * FAR).astype(np.uint16),
    "floats": FAR.astype(np.float32),
}


@pytest.mark.parametrize("name", GREY)
def test_grey_depth_is_read_as_stored(tmp_path, name):
    path = save(tmp_path / ("a.tif" if name == "floats" else "a.png"), GREY[name])
    assert np.abs(read(path) - FAR).max() < 1 / 200


@pytest.mark.parametrize(
    "name", ["viridis", "plasma", "magma", "jet", "turbo", "Spectral", "cv2 JET"]
)
def test_a_colour_map_is_recognised_and_inverted(tmp_path, name):
    path = save(tmp_path / "a.png", mapped(name))
    reader = depth_reader([path])
    assert name.lower().removeprefix("cv2 ") in str(reader).lower()
    error = np.abs(reader(path, 96) - FAR)
    assert error.max() < 0.03 and error.mean() < 0.01


@pytest.mark.parametrize("name", ["plasma", "turbo"])
def test_a_colour_map_survives_jpeg(tmp_path, name):
    Image.fromarray(mapped(name)).save(tmp_path / "a.jpg", quality=90)
    assert np.abs(read(tmp_path / "a.jpg") - FAR).mean() < 0.03


UNKNOWN = {
    "millimetres to 10 m": (10000 * FAR).astype(np.uint16),
    "12 bits of 16": np.rint(4000 * FAR).astype(np.uint16),
    "metres as floats": (10 * FAR).astype(np.float32),
    "metres as whole numbers": np.rint(10 * FAR).astype(np.uint8),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_scale_is_asked_for_and_used(tmp_path, name):
    stored = UNKNOWN[name]
    path = save(tmp_path / ("a.tif" if stored.dtype == np.float32 else "a.png"), stored)
    with pytest.raises(InputError, match=r"a\.(png|tif).*depth_white=10000"):
        depth_reader([path])
    assert np.abs(read(path, float(stored.max())) - FAR).max() < (0.06 if "whole" in name else 0.01)


def test_one_scale_holds_for_the_whole_folder(tmp_path):
    near = save(tmp_path / "near.png", (1023 * FAR / 4).astype(np.uint16))
    far = save(tmp_path / "far.png", np.rint(1023 * FAR).astype(np.uint16))
    reader = depth_reader([near, far])
    assert np.abs(reader(near, 96) - FAR / 4).max() < 0.01 and "1023" in str(reader)
    other = save(tmp_path / "other.png", (4095 * FAR).astype(np.uint16))
    with pytest.raises(InputError, match=r"other\.png is no depth file like"):
        reader(other, 96)


def test_other_kinds_are_refused(tmp_path):
    colour = save(tmp_path / "colour.png", mapped("plasma"))
    grey = save(tmp_path / "grey.png", GREY["8 bits"])
    photo = save(
        tmp_path / "photo.png", np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    )
    holes = save(tmp_path / "holes.tif", np.where(FAR > 0.9, np.nan, FAR).astype(np.float32))
    with pytest.raises(InputError, match=r"grey\.png is stored in another way than \S*colour"):
        depth_reader([colour, grey])
    with pytest.raises(InputError, match="colour map is not recognised"):
        depth_reader([photo])
    for path, reader in (
        (photo, DepthReader(colours="plasma")),
        (grey, DepthReader(colours="jet")),
    ):
        with pytest.raises(InputError, match=f"{path.name} is no depth file like"):
            reader(path, 96)
    with pytest.raises(InputError, match=r"holes\.tif .*NaN"):
        read(holes)


def test_infinitely_far_is_white(tmp_path):
    path = save(tmp_path / "a.tif", np.where(FAR > 0.9, np.inf, FAR).astype(np.float32))
    assert read(path).max() == 1
