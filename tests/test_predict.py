"""Two photos -> mask and depth: in Python and through the command line, with all kinds of input."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import TINY, smooth
from PIL import Image
from safetensors.torch import save_file

from eva_helpers import predict
from eva_helpers.files import InputError
from eva_helpers.images import PICTURES
from eva_helpers.model import MaskDepthNet
from eva_helpers.plots import pictures
from eva_helpers.predict.cli import main
from eva_helpers.predict.pairing import check_pair

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def photos(tmp_path):
    """A folder with a background and an image of 96 x 72 with a dark square in it."""
    background = smooth(np.random.default_rng(0), 96)[:72]
    image = background.copy()
    image[20:50, 30:60] = 10
    Image.fromarray(background).save(tmp_path / "bg.png")
    Image.fromarray(image).save(tmp_path / "image.png")
    return tmp_path


@pytest.fixture
def pair(photos):
    return photos / "bg.png", photos / "image.png"


@pytest.fixture
def predictor(weights):
    return predict.Predictor.load(weights)


@pytest.fixture(autouse=True)
def figures():
    """No call leaves a figure open, unless it returns it."""
    plt.close("all")
    yield
    assert plt.get_fignums() == []


def python(*arguments, folder=CHECKOUT):
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def run(*arguments, folder):
    return python("-m", "eva_helpers.predict", *arguments, folder=folder)


def test_arrays_pictures_and_paths_give_the_same(pair, predictor):
    pictures = [Image.open(path) for path in pair]
    first, *others = (
        predictor(*photos) for photos in (pair, pictures, [np.asarray(photo) for photo in pictures])
    )
    assert first.mask.shape == first.depth.shape == (72, 96)
    assert first.mask.dtype == first.depth.dtype == np.float32
    for other in others:
        assert np.array_equal(other.mask, first.mask) and np.array_equal(other.depth, first.depth)


def test_the_order_of_the_photos_matters(pair, predictor):
    assert not np.allclose(predictor(*pair).mask, predictor(*pair[::-1]).mask)


def test_large_photos_come_back_at_their_own_size(predictor):
    photo = smooth(np.random.default_rng(1), 700)[:431]
    assert predictor(photo, photo).mask.shape == (431, 700)


def test_the_network_sees_at_most_the_given_size(pair):
    predictor = predict.Predictor(MaskDepthNet(TINY), size=64)
    _, coarse, _ = predictor.passes.first_pass(*(np.asarray(Image.open(path)) for path in pair))
    assert coarse.shape == (48, 64) and predictor(*pair).mask.shape == (72, 96)


def test_the_network_that_is_handed_over_stays_as_it_is(pair):
    net = MaskDepthNet(TINY).train()
    predictor = predict.Predictor(net)
    before = predictor(*pair)
    assert net.training
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert np.array_equal(predictor(*pair).mask, before.mask), "the predictor has its own copy"


def test_predict_images_is_the_original_projects_call(photos, weights, monkeypatch):
    shown = []
    monkeypatch.setattr(
        plt, "show", lambda: shown.extend(len(plt.figure(n).axes) for n in plt.get_fignums())
    )
    result = predict.predict_images(weights, photos, "bg.png", "image.png")
    assert isinstance(result, predict.Prediction) and result.mask.shape == (72, 96)
    assert shown == [4], "one figure of four panels"


def test_same_frame_at_another_size_is_resampled(photos, predictor):
    Image.open(photos / "bg.png").resize((192, 144)).save(photos / "large.png")
    result = predictor(photos / "large.png", photos / "image.png")
    assert result.background.shape == (72, 96, 3)


def test_another_shape_needs_resize(photos, predictor):
    Image.open(photos / "bg.png").resize((72, 72)).save(photos / "square.png")
    square_pair = photos / "square.png", photos / "image.png"
    with pytest.raises(InputError, match=r"square\.png is 72x72.*image\.png is 96x72.*resize"):
        predictor(*square_pair)
    assert predictor(*square_pair, resize=True).mask.shape == (72, 96)


@pytest.mark.parametrize(
    "shape, kind", [((64, 64), "uint8"), ((64, 64, 3), "float32"), ((3, 64, 64), "uint8")]
)
def test_arrays_of_another_kind_are_refused(shape, kind, predictor):
    with pytest.raises(InputError, match=f"the background is {kind} .*expected uint8 RGB"):
        predictor(np.zeros(shape, kind), np.zeros((64, 64, 3), np.uint8))


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
def test_all_common_formats_are_read(name, photos, predictor):
    for part in ("bg", "image"):
        FORMATS[name](Image.open(photos / f"{part}.png")).save(photos / f"{part}-{name}")
    result = predictor(photos / f"bg-{name}", photos / f"image-{name}")
    assert result.mask.shape == (72, 96)
    truth = np.asarray(Image.open(photos / "image.png").convert("L")).astype(float)
    seen = result.image.mean(axis=2)
    dithered = name.startswith("black-and-white")
    alike = np.corrcoef(truth.ravel(), seen.ravel())[0, 1]
    assert alike > (0.3 if dithered else 0.8), "noise, a negative or black"


@pytest.mark.parametrize("suffix", PICTURES)
def test_every_kind_of_file_is_read(suffix, photos, predictor):
    if suffix.startswith((".hei", ".hif")):
        pytest.importorskip("pillow_heif", reason="needs pillow-heif").register_heif_opener()
    kind = {".jfif": "JPEG", ".jpe": "JPEG", ".mpo": "MPO"}.get(suffix)
    for part in ("bg", "image"):
        picture = Image.open(photos / f"{part}.png")
        try:
            picture.save(photos / f"{part}{suffix}", format=kind)
        except (KeyError, ValueError, OSError):
            pytest.skip(f"this Pillow does not write {suffix}")
    assert predictor(photos / f"bg{suffix}", photos / f"image{suffix}").mask.shape == (72, 96)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_both_photos_of_more_than_8_bits_are_scaled_alike(bits, photos):
    """The dark photo alone would look like one of fewer bits, and be brightened."""
    bright, dark = (np.tile(np.linspace(0, top, 96), (72, 1)) for top in (2**bits - 1, 2**bits / 8))
    for name, values in (("b", bright), ("i", dark)):
        Image.fromarray(values.astype(np.uint16)).save(photos / f"{name}.png")
    scene, photo = predict.load_pair(photos / "b.png", photos / "i.png")
    assert scene.max() == 255 and photo.max() == pytest.approx(32, abs=1)


def test_exif_rotated_photos_are_turned_upright(photos, predictor):
    picture = Image.open(photos / "image.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show": stored lying on its side
    picture.rotate(90, expand=True).save(photos / "phone.jpg", exif=exif, quality=95)
    result = predictor(photos / "bg.png", photos / "phone.jpg")
    assert result.image.shape == (72, 96, 3)
    assert np.abs(result.image.astype(int) - np.asarray(picture)).mean() < 6


def test_command_line_writes_three_files(photos, pair, predictor, weights):
    done = run(
        "--background", "bg.png", "--image", "image.png", "--weights", weights, "--out", "result",
        folder=photos,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "predicting image.png, 96x72 px ..." in done.stderr
    assert sorted(path.name for path in (photos / "result").iterdir()) == [
        "depth.png", "mask.png", "panel.png"
    ]  # fmt: skip
    result = predictor(*pair)
    mask, depth = (
        np.asarray(Image.open(photos / "result" / name)) for name in ("mask.png", "depth.png")
    )
    assert mask.dtype == np.uint8 and np.abs(mask / 255 - result.mask).max() < 0.01
    assert depth.dtype in (np.uint16, np.int32)
    assert np.abs(depth / 65535 - result.depth).max() < 0.001
    assert Image.open(photos / "result/panel.png").width > 800


def test_the_maps_are_rounded_in_strips(predictor, tmp_path):
    photo = smooth(np.random.default_rng(1), 200)
    result = predictor(photo, photo)
    result.save(tmp_path)
    for name, values, top in (("mask", result.mask, 255), ("depth", result.depth, 65535)):
        stored = np.asarray(Image.open(tmp_path / f"{name}.png"))
        assert np.array_equal(stored, np.rint(values * top)), name


def test_a_large_pair_is_drawn_small_and_quickly(tmp_path):
    """Drawing every pixel of 12 megapixels took 13 of 17 seconds."""
    photo = np.zeros((3000, 4000, 3), np.uint8)
    values = np.zeros((3000, 4000), np.float32)
    result = predict.Prediction(photo, photo, values, values, check_pair(photo, photo))
    start = time.process_time()
    result.save(tmp_path)
    assert time.process_time() - start < 4
    assert 800 < Image.open(tmp_path / "panel.png").width < 1700


def test_saving_needs_no_pyplot(pair, predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(plt, "figure", lambda *_, **__: 1 / 0)
    assert len(predictor(*pair).save(tmp_path / "result")) == 3


@pytest.mark.parametrize("name", ["mask.png", "file/sub"])
def test_unusable_output_is_noticed_before_predicting(name, photos, weights, monkeypatch, capsys):
    (photos / "mask.png").touch()
    (photos / "file").touch()
    monkeypatch.setattr(predict.Predictor, "__call__", lambda *_, **__: 1 / 0)
    command = ["--background", str(photos / "bg.png"), "--image", str(photos / "image.png")]
    out = photos / name if "/" in name else photos
    assert main([*command, "--weights", str(weights), "--out", str(out)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_names_that_the_terminal_cannot_show(photos, weights, monkeypatch):
    """An output encoding that is not UTF-8: here ASCII, a stand-in for Windows' code pages."""
    out = photos / "r\N{WHITE STAR}"
    command = ["--background", str(photos / "bg.png"), "--image", str(photos / "image.png")]
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, "ascii", write_through=True))
    assert main([*command, "--weights", str(weights), "--out", str(out)]) == 0
    assert b"r\\u2606" in printed.getvalue() and len(list(out.iterdir())) == 3


@pytest.mark.parametrize("name", ["mask", "depth", "panel"])
def test_nothing_is_overwritten(name, photos, pair, predictor):
    (photos / "result").mkdir()
    (photos / f"result/{name}.png").write_text("mine")
    with pytest.raises(InputError, match=rf"{name}\.png exists"):
        predictor(*pair).save(photos / "result")
    assert (photos / f"result/{name}.png").read_text() == "mine"
    assert len(list((photos / "result").iterdir())) == 1


def test_a_figure_that_cannot_be_drawn_leaves_no_files(photos, pair, predictor, monkeypatch):
    monkeypatch.setattr(pictures, "panels", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predictor(*pair).save(photos / "result")
    assert list((photos / "result").iterdir()) == []


def cropped(path: Path) -> None:
    Image.open(path.with_name("bg.png")).crop((0, 0, 60, 72)).save(path)


def reduced(path: Path) -> None:
    Image.open(path.with_name("bg.png")).resize((20, 15)).save(path)


def halved(path: Path) -> None:
    data = path.with_name("image.png").read_bytes()
    path.write_bytes(data[: len(data) // 2])


def other_network(path: Path) -> None:
    save_file({"layer.weight": torch.zeros(3)}, path)


# what is wrong -> the option, the file it names, and how that is made
BAD = {
    "missing": ("--image", "nowhere.png", lambda path: None),
    "folder": ("--image", "folder.png", Path.mkdir),
    "not a picture": ("--background", "notes.jpg", lambda path: path.write_text("just text")),
    "empty": ("--background", "empty.png", Path.touch),
    "truncated": ("--image", "half.png", halved),
    "other shape": ("--background", "narrow.png", cropped),
    "tiny": ("--background", "tiny.png", reduced),
    "no weights": ("--weights", "gone.safetensors", lambda path: None),
    "weights are no weights": ("--weights", "bad.safetensors", lambda path: path.write_text("PK")),
    "weights of another network": ("--weights", "other.safetensors", other_network),
    "out is a file": ("--out", "file", Path.touch),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_status_2(name, photos, weights):
    option, file, make = BAD[name]
    make(photos / file)
    options = {"--background": "bg.png", "--image": "image.png", "--weights": weights, option: file}
    before = {path.name: path.stat().st_mtime_ns for path in photos.iterdir()}
    done = run(*(part for item in options.items() for part in item), folder=photos)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and file in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""
    assert {path.name: path.stat().st_mtime_ns for path in photos.iterdir()} == before


def test_command_line_without_arguments_explains_itself(photos):
    done = run(folder=photos)
    assert done.returncode == 2 and "--background" in done.stderr and "Traceback" not in done.stderr


HEAVY = (
    "print([m for m in ('torch', 'matplotlib', 'kornia', 'albumentations') if m in sys.modules])"
)


def test_importing_predict_is_cheap():
    done = python("-c", f"import sys, eva_helpers.predict, eva_helpers.predict.cli; {HEAVY}")
    assert done.stdout.strip() == "[]", done.stderr


def test_errors_in_the_photos_come_before_the_slow_imports():
    command = ["--background", "no.png", "--image", "no.png"]
    done = python("-c", f"import sys, eva_helpers.predict.cli as cli; cli.main({command}); {HEAVY}")
    assert "no.png is not there" in done.stderr and done.stdout.strip() == "[]"


@pytest.fixture
def moved_pair(tmp_path):
    """Files of a pair between whose photos the camera moved."""
    from test_pairing import moved, place, with_object

    for name, photo in (("b.png", moved(place(1), 12, 0)), ("i.png", with_object(place(1)))):
        Image.fromarray(photo).save(tmp_path / name)
    return tmp_path / "b.png", tmp_path / "i.png"


def test_align_brings_the_background_to_the_image(moved_pair, predictor):
    plain, aligned = (predictor(*moved_pair, align=align) for align in (False, True))
    assert "camera moved" in plain.check.verdict and "camera moved" in aligned.check.verdict
    before, after = (
        np.abs(result.background.astype(float) - result.image)[40:-40, 40:130].mean()
        for result in (plain, aligned)
    )
    assert after < 0.3 * before


def test_a_pair_that_does_not_match_is_reported(moved_pair, weights, capsys, tmp_path):
    background, image = map(str, moved_pair)
    command = ["--background", background, "--image", image, "--weights", str(weights), "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    assert "warning: The camera moved" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "two"), "--align"]) == 0
    assert "aligned: The camera moved" in capsys.readouterr().err
    predict.predict_images(weights, tmp_path, "b.png", "i.png")
    assert "camera moved" in capsys.readouterr().out
