import io
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from eva_helpers import images
from eva_helpers.files import InputError


@pytest.fixture
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.asarray(
        Image.fromarray(rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)).resize(
            (60, 40), Image.Resampling.BICUBIC
        )
    )


def test_plain_rgb_is_read_as_it_is(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(images.read_rgb(tmp_path / "a.png"), picture)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA", "1"])
def test_other_modes_become_uint8_rgb(tmp_path, picture, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(picture).convert(mode).save(path)
    read = images.read_rgb(path)
    assert read.dtype == np.uint8 and read.shape == (40, 60, 3)
    if mode not in ("1", "P"):
        expected = np.asarray(
            Image.fromarray(picture).convert("L" if mode in ("L", "LA") else "RGB").convert("RGB")
        ).astype(int)
        assert np.abs(read.astype(int) - expected).mean() < 4


def test_cmyk_jpeg_keeps_its_colours(tmp_path):
    Image.new("RGB", (64, 64), (200, 40, 40)).convert("CMYK").save(tmp_path / "a.jpg")
    red, green, blue = images.read_rgb(tmp_path / "a.jpg")[32, 32]
    assert red > 150 > 90 > green and blue < 90


def test_16_bit_grey_is_scaled_not_cut(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    read = images.read_rgb(tmp_path / "a.png")
    assert read.min() == 0 and read.max() == 255
    assert np.abs(read[..., 0].astype(float) - ramp / 257).max() <= 1


def test_transparency_is_laid_on_white(tmp_path):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (images.read_rgb(tmp_path / "a.png") == 255).all()


def test_exif_orientation_is_applied(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif, quality=98)
    read = images.read_rgb(tmp_path / "a.jpg")
    assert read.shape == (60, 40, 3)
    assert np.abs(read.astype(int) - np.rot90(picture, -1)).mean() < 8


def test_a_map_keeps_its_16_bits(tmp_path):
    code = np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16
    images.write_png(tmp_path / "a.png", code)
    assert np.array_equal(images.read_map(tmp_path / "a.png"), code)


def bad_files(folder, picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((300, 300)).save(buffer, "JPEG")
    (folder / "truncated.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (folder / "text.jpg").write_text("this is not a picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "folder.png").mkdir()
    return ["truncated.jpg", "text.jpg", "empty.png", "folder.png", "missing.jpg"]


def test_unusable_files_are_named_in_the_error(tmp_path, picture):
    for name in bad_files(tmp_path, picture):
        with pytest.raises(InputError, match=name):
            images.read_rgb(tmp_path / name)


def test_a_cutout_needs_visible_transparency(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / "opaque.png")
    Image.new("RGBA", (40, 40), (9, 9, 9, 0)).save(tmp_path / "nothing.png")
    for name in ("opaque.png", "nothing.png"):
        with pytest.raises(InputError, match=name):
            images.read_rgba(tmp_path / name)


def test_a_failed_write_leaves_no_file(tmp_path):
    with pytest.raises(InputError, match="no_such_folder"):
        images.write_png(tmp_path / "no_such_folder" / "a.png", np.zeros((4, 4), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("end", ["png", "tif"])
def test_colours_of_more_than_8_bits_are_scaled_not_cut(tmp_path, picture, bits, end):
    stored = (picture / picture.max() * (2**bits - 1)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{end}"), stored[..., ::-1])
    read = images.read_rgb(tmp_path / f"a.{end}")
    assert read.dtype == np.uint8
    assert np.abs(read - picture / picture.max() * 255).max() <= 1


def test_both_photos_of_a_pair_get_one_white(tmp_path, picture):
    for name, level in (("bright", 4095), ("dark", 900)):
        images.write_png(
            tmp_path / f"{name}.png", (picture[..., 0] / 255 * level).astype(np.uint16)
        )
    pair = [images.open_picture(tmp_path / f"{name}.png") for name in ("bright", "dark")]
    white = images.white_level(*pair)
    assert white == 4095 and images.white_level(Image.fromarray(picture)) is None
    bright, dark = (images.to_rgb(each, white).astype(float) for each in pair)
    assert np.abs(dark - bright * 900 / 4095).max() <= 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_deep_colours(tmp_path, picture, orientation):
    stored = picture.astype(np.uint16) * 257
    extra = [(0x0112, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "deep.tif", stored, photometric="rgb", extratags=extra)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    expected = images.read_rgb(tmp_path / "a.png")
    assert np.array_equal(images.read_rgb(tmp_path / "deep.tif"), expected)


def test_truncated_deep_colours_are_noticed(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.png"), picture.astype(np.uint16) * 257)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:4000])
    with pytest.raises(InputError, match=r"a\.png is damaged"):
        images.read_rgb(tmp_path / "a.png")


def test_heic_needs_its_package(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"  # phones' HEIC files are often renamed
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match="pip install pillow-heif"):
        images.read_rgb(path)
    registered = []
    module = SimpleNamespace(register_heif_opener=lambda: registered.append(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    with pytest.raises(InputError, match="not a picture"):
        images.read_rgb(path)
    assert registered == [1]


def test_pictures_are_known_by_their_names(tmp_path):
    for name in ("b.JPG", "a.jfif", "._a.jpg", "c.json", "d.HEIC", "e.mpo", "notes"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    names = [path.name for path in images.picture_files(tmp_path)]
    assert names == ["a.jfif", "b.JPG", "d.HEIC", "e.mpo"]


def test_a_map_that_16_bits_cannot_hold_is_refused(tmp_path):
    Image.fromarray(np.full((40, 40), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif holds float32"):
        images.read_map(tmp_path / "a.tif")
