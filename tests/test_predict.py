"""Two photos -> mask and depth: in Python and through the command line, with everything that people hand over."""

import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import smooth
from PIL import Image
from safetensors.torch import save_file

from eva_helpers import assets, predict
from eva_helpers.images import InputError


@pytest.fixture
def photos(tmp_path):
    """A background and an image of 96 x 72 with a dark square in it."""
    background = smooth(np.random.default_rng(0), 96)[:72]
    image = background.copy()
    image[20:50, 30:60] = 10
    Image.fromarray(background).save(tmp_path / "bg.png")
    Image.fromarray(image).save(tmp_path / "image.png")
    return tmp_path


def run(*arguments, folder):
    environment = os.environ | {"PYTHONPATH": str(assets.ROOT)}
    command = [sys.executable, "-m", "eva_helpers.predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_predictor_takes_arrays_pictures_and_paths(photos, weights):
    predictor = predict.Predictor.load(weights)
    paths = photos / "bg.png", photos / "image.png"
    pictures = [Image.open(path) for path in paths]
    results = [predictor(*paths), predictor(*pictures), predictor(*(np.asarray(p) for p in pictures))]
    for result in results:
        assert result.mask.shape == result.depth.shape == (72, 96)
        assert result.mask.dtype == result.depth.dtype == np.float32
        assert 0 <= result.mask.min() and result.mask.max() <= 1 and 0 <= result.depth.min() and result.depth.max() <= 1
        assert np.array_equal(result.mask, results[0].mask) and np.array_equal(result.depth, results[0].depth)


def test_the_order_of_the_photos_matters(photos, weights):
    predictor = predict.Predictor.load(weights)
    there, back = predictor(photos / "bg.png", photos / "image.png"), predictor(photos / "image.png", photos / "bg.png")
    assert not np.allclose(there.mask, back.mask)


def test_large_photos_come_back_at_their_own_size(weights):
    photo = smooth(np.random.default_rng(1), 700)[:431]
    result = predict.Predictor.load(weights)(photo, photo)
    assert result.mask.shape == (431, 700)


def test_predict_images_is_the_sources_call(photos, weights):
    plt.close("all")
    result = predict.predict_images(weights, photos, "bg.png", "image.png")
    assert isinstance(result, predict.Prediction) and result.mask.shape == (72, 96)
    assert len(plt.gcf().axes) == 4
    plt.close("all")


def test_same_frame_at_another_size_is_resampled(photos, weights):
    Image.open(photos / "bg.png").resize((192, 144)).save(photos / "large.png")
    assert predict.Predictor.load(weights)(photos / "large.png", photos / "image.png").background.shape == (72, 96, 3)


def test_another_shape_needs_resize(photos, weights):
    Image.open(photos / "bg.png").resize((72, 72)).save(photos / "square.png")
    predictor = predict.Predictor.load(weights)
    with pytest.raises(InputError, match=r"square\.png is 72x72.*image\.png is 96x72.*resize"):
        predictor(photos / "square.png", photos / "image.png")
    assert predictor(photos / "square.png", photos / "image.png", resize=True).mask.shape == (72, 96)


@pytest.mark.parametrize("array", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32), np.zeros((3, 64, 64), np.uint8)])
def test_arrays_of_another_kind_are_refused(array, weights):
    with pytest.raises(InputError, match="uint8"):
        predict.Predictor.load(weights)(array, np.zeros((64, 64, 3), np.uint8))


FORMATS = {
    "grey.png": lambda p: p.convert("L"),
    "palette.png": lambda p: p.convert("P", palette=Image.Palette.ADAPTIVE),
    "palette.gif": lambda p: p.convert("P", palette=Image.Palette.ADAPTIVE),
    "cmyk.jpg": lambda p: p.convert("CMYK"),
    "rgba.png": lambda p: p.convert("RGBA"),
    "la.png": lambda p: p.convert("LA"),
    "deep.png": lambda p: Image.fromarray(np.asarray(p.convert("L")).astype(np.uint16) * 257),
    "deep.tif": lambda p: Image.fromarray(np.asarray(p.convert("L")).astype(np.uint16) * 257),
    "photo.webp": lambda p: p,
    "black-and-white.png": lambda p: p.convert("1"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_plain_meanings_simply_work(name, photos, weights):
    for part in ("bg", "image"):
        FORMATS[name](Image.open(photos / f"{part}.png")).save(photos / f"{part}-{name}")
    result = predict.Predictor.load(weights)(photos / f"bg-{name}", photos / f"image-{name}")
    assert result.mask.shape == (72, 96)
    truth = np.asarray(Image.open(photos / "image.png").convert("L")).astype(float)
    seen = result.image.mean(axis=2)
    dithered = name.startswith("black-and-white")
    assert np.corrcoef(truth.ravel(), seen.ravel())[0, 1] > (0.3 if dithered else 0.8)  # not noise, negative or black


def test_exif_rotated_photos_are_turned_upright(photos, weights):
    picture = Image.open(photos / "image.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show": stored lying on its side
    picture.rotate(90, expand=True).save(photos / "phone.jpg", exif=exif, quality=95)
    result = predict.Predictor.load(weights)(photos / "bg.png", photos / "phone.jpg")
    assert result.image.shape == (72, 96, 3)
    assert np.abs(result.image.astype(int) - np.asarray(picture)).mean() < 6


def test_command_line_writes_three_files(photos, weights):
    done = run("--background", "bg.png", "--image", "image.png", "--weights", weights, "--out", "result", folder=photos)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (photos / "result").iterdir()) == ["depth.png", "mask.png", "panel.png"]
    result = predict.Predictor.load(weights)(photos / "bg.png", photos / "image.png")
    mask, depth = (np.asarray(Image.open(photos / "result" / name)) for name in ("mask.png", "depth.png"))
    assert mask.dtype == np.uint8 and np.abs(mask / 255 - result.mask).max() < 0.01
    assert depth.dtype in (np.uint16, np.int32) and np.abs(depth / 65535 - result.depth).max() < 0.001
    assert Image.open(photos / "result/panel.png").width > 800


def test_nothing_is_overwritten(photos, weights):
    (photos / "result").mkdir()
    (photos / "result/depth.png").write_text("mine")
    done = run("--background", "bg.png", "--image", "image.png", "--weights", weights, "--out", "result", folder=photos)
    assert done.returncode == 2 and "depth.png" in done.stderr
    assert (photos / "result/depth.png").read_text() == "mine" and len(list((photos / "result").iterdir())) == 1


def _spoil(photos, name):
    """Make one bad input; returns the command line's arguments and what the message must name."""
    arguments = {"--background": "bg.png", "--image": "image.png"}
    if name == "missing":
        arguments["--image"] = named = "nowhere.png"
    elif name == "folder":
        arguments["--image"], named = ".", "folder"
    elif name == "not a picture":
        (photos / "notes.jpg").write_text("just text")
        arguments["--background"] = named = "notes.jpg"
    elif name == "empty":
        (photos / "empty.png").write_bytes(b"")
        arguments["--background"] = named = "empty.png"
    elif name == "truncated":
        data = (photos / "image.png").read_bytes()
        (photos / "half.png").write_bytes(data[: len(data) // 2])
        arguments["--image"] = named = "half.png"
    elif name == "other shape":
        Image.open(photos / "bg.png").crop((0, 0, 60, 72)).save(photos / "narrow.png")
        arguments["--background"] = named = "narrow.png"
    elif name == "tiny":
        Image.open(photos / "bg.png").resize((20, 15)).save(photos / "tiny.png")
        arguments["--background"] = named = "tiny.png"
    elif name == "no weights":
        arguments["--weights"] = named = "gone.safetensors"
    elif name == "weights are no weights":
        (photos / "bad.safetensors").write_bytes(b"PK not at all")
        arguments["--weights"] = named = "bad.safetensors"
    elif name == "weights of another network":
        save_file({"layer.weight": torch.zeros(3)}, photos / "other.safetensors")
        arguments["--weights"] = named = "other.safetensors"
    elif name == "out is a file":
        (photos / "file").write_text("mine")
        arguments["--out"] = named = "file"
    return [part for pair in arguments.items() for part in pair], named


BAD = (
    "missing", "folder", "not a picture", "empty", "truncated", "other shape", "tiny",
    "no weights", "weights are no weights", "weights of another network", "out is a file",
)  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_status_2(name, photos, weights):
    arguments, named = _spoil(photos, name)
    if "--weights" not in arguments:
        arguments += ["--weights", weights]
    before = {path.name for path in photos.iterdir()}
    done = run(*arguments, folder=photos)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.startswith("error: ") and named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""
    assert {path.name for path in photos.iterdir()} == before


def test_command_line_without_arguments_explains_itself(photos):
    done = run(folder=photos)
    assert done.returncode == 2 and "--background" in done.stderr and "Traceback" not in done.stderr


def test_importing_predict_is_cheap():
    heavy = ("torch", "matplotlib", "kornia", "albumentations")
    code = f"import sys, eva_helpers, eva_helpers.predict; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=assets.ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_pair_that_does_not_match_is_named(weights, capsys, tmp_path):
    from test_pairing import moved, place, with_object

    paths = [tmp_path / "b.png", tmp_path / "i.png"]
    for path, photo in zip(paths, (moved(place(1), 12, 0), with_object(place(1))), strict=True):
        Image.fromarray(photo).save(path)
    predictor = predict.Predictor.load(weights)
    as_it_is, put_right = predictor(*paths), predictor(*paths, align=True)
    assert "camera moved" in as_it_is.check.verdict
    gaps = [np.abs(result.background.astype(float) - result.image)[40:-40, 40:130].mean() for result in (as_it_is, put_right)]
    assert gaps[1] < 0.3 * gaps[0]
    command = ["--background", str(paths[0]), "--image", str(paths[1]), "--weights", str(weights)]
    assert predict.main([*command, "--out", str(tmp_path / "one")]) == 0 and "warning: The camera moved" in capsys.readouterr().err
    assert predict.main([*command, "--align", "--out", str(tmp_path / "two")]) == 0 and "aligned: " in capsys.readouterr().err
    predict.predict_images(weights, tmp_path, "b.png", "i.png")
    assert "camera moved" in capsys.readouterr().out
