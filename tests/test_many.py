"""Many images of one scene: folders, patterns and videos; resumed, split, smoothed, refused."""

import csv
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import smooth
from PIL import Image

from eva_helpers.files import InputError, read_json
from eva_helpers.predict import Predictor, outputs
from eva_helpers.predict.cli import main
from eva_helpers.predict.frames import frames
from eva_helpers.predict.many import predict_many
from eva_helpers.predict.predictor import quantised

COUNT = 6


def shots(count=COUNT, shape=(72, 96)):
    """A background, and images in which a dark square moves."""
    background = smooth(np.random.default_rng(0), 96)[: shape[0], : shape[1]]
    images = []
    for number in range(count):
        image = background.copy()
        image[20:50, 5 + 8 * number : 25 + 8 * number] = 10
        images.append(image)
    return background, images


@pytest.fixture
def folder(tmp_path):
    """background.png, and images/ with COUNT pictures and a text file."""
    background, images = shots()
    Image.fromarray(background).save(tmp_path / "background.png")
    (tmp_path / "images").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"images/shot_{number}.png")
    (tmp_path / "images/notes.txt").write_text("no picture")
    return tmp_path


def write_video(path, images, rate=10.0):
    size = (images[0].shape[1], images[0].shape[0])
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, size)
    for image in images:
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    video.release()
    return path


def predicted(folder, weights, source="images", out="out", **options):
    return predict_many(
        folder / "background.png", folder / source, folder / out,
        weights=weights, progress=False, **options,
    )  # fmt: skip


def stored(folder, kind="mask"):
    return {path.stem: np.asarray(Image.open(path)) for path in sorted((folder / kind).iterdir())}


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_gives_what_single_calls_give(folder, weights):
    report = predicted(folder, weights, outputs=("mask", "depth", "cutout"))
    assert (report.predicted, report.known, report.refused) == (COUNT, 0, {})
    assert report.notes == ["files that are no pictures, left out: 1"]
    single = Predictor.load(weights)
    for name, mask in stored(folder / "out").items():
        expected = single(folder / "background.png", folder / f"images/{name}.png")
        close = {"atol": 2, "rtol": 0}  # threads add in another order
        np.testing.assert_allclose(mask, quantised(expected.mask, np.uint8), **close)
        depth = stored(folder / "out", "depth")[name]
        np.testing.assert_allclose(depth, quantised(expected.depth, np.uint16), rtol=0, atol=400)
    assert stored(folder / "out", "cutout")["shot_0"].shape == (72, 96, 4)
    assert [row["name"] for row in rows(folder / "out/images.csv")] == [
        f"shot_{number}" for number in range(COUNT)
    ]


def test_a_second_call_does_only_what_is_missing(folder, weights):
    predicted(folder, weights)
    kept = folder / "out/mask/shot_0.png"
    times = kept.stat().st_mtime_ns
    (folder / "out/depth/shot_3.png").unlink()
    shutil.copy(folder / "images/shot_1.png", folder / "images/shot_9.png")
    report = predicted(folder, weights)
    assert (report.predicted, report.known) == (2, COUNT - 1)
    assert kept.stat().st_mtime_ns == times
    assert sorted(row["name"] for row in rows(folder / "out/images.csv")) == [
        *(f"shot_{number}" for number in range(COUNT)),
        "shot_9",
    ]


@pytest.mark.parametrize(
    "changed", [{"smooth": 0.5}, {"align": True}, {"background": True}, {"source": "others"}]
)
def test_results_of_other_settings_are_not_mixed(folder, weights, changed):
    predicted(folder, weights)
    shutil.copytree(folder / "images", folder / "others")
    if changed.pop("background", False):
        Image.new("RGB", (96, 72)).save(folder / "background.png")
    with pytest.raises(InputError, match=r"other settings .* choose another folder"):
        predicted(folder, weights, **changed)


def test_pictures_of_unknown_origin_are_not_taken_for_results(folder, weights):
    (folder / "out/mask").mkdir(parents=True)
    shutil.copy(folder / "images/shot_0.png", folder / "out/mask/shot_0.png")
    with pytest.raises(InputError, match="unknown origin"):
        predicted(folder, weights)


def test_shards_give_every_image_once(folder, weights):
    reports = [predicted(folder, weights, shard=(number, 4)) for number in range(4)]
    assert sum(report.predicted for report in reports) == COUNT
    assert all(report.known == 0 for report in reports)
    assert len(stored(folder / "out")) == COUNT
    lists = sorted((folder / "out").glob("images-*-of-4.csv"))
    names = [row["name"] for each in lists for row in rows(each)]
    assert names == [f"shot_{number}" for number in range(COUNT)]
    assert predicted(folder, weights).known == COUNT


def test_a_process_of_several_takes_its_own_part(folder, weights, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    predicted(folder, weights)
    assert list(stored(folder / "out")) == ["shot_3", "shot_4", "shot_5"]


def test_a_video_and_its_new_background(folder, weights):
    _, images = shots()
    video = write_video(folder / "clip.avi", images)
    Image.new("RGB", (50, 50), (200, 0, 0)).save(folder / "red.png")
    report = predicted(
        folder, weights, "clip.avi", outputs=("mask", "replaced"), replacement=folder / "red.png"
    )
    assert report.predicted == COUNT and report.notes == []
    assert list(stored(folder / "out")) == [f"{number:06d}" for number in range(COUNT)]
    made = cv2.VideoCapture(str(folder / "out/replaced.mp4"))
    assert made.get(cv2.CAP_PROP_FRAME_COUNT) == COUNT
    assert made.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    known, frame = made.read()
    assert known and frame.shape == (72, 96, 3)
    expected = stored(folder / "out", "replaced")["000000"]
    assert np.abs(frame[..., ::-1].astype(int) - expected).mean() < 12, "MP4 is lossy"
    assert video.is_file()


def test_a_video_of_another_shape_is_refused_without_a_new_video(folder, weights):
    write_video(folder / "clip.avi", [image[:48] for image in shots(3)[1]])
    report = predicted(
        folder, weights, "clip.avi", outputs=("replaced",), replacement=folder / "background.png"
    )
    assert len(report.refused) == 3 and "same frame" in report.refused["000000"]
    assert not (folder / "out/replaced.mp4").exists()


def test_smoothing_is_an_average_over_time(folder, weights):
    predicted(folder, weights, out="single")
    predicted(folder, weights, out="smooth", smooth=0.5)
    single, smoothed = (list(stored(folder / name).values()) for name in ("single", "smooth"))
    past = single[0].astype(float)
    for own, average in zip(single, smoothed, strict=True):
        past = 0.5 * past + 0.5 * own
        np.testing.assert_allclose(average, past, atol=2)


def test_an_average_begins_anew_where_the_scene_jumps():
    def maps(value, size=8):
        photo = np.zeros((size, size, 3), np.uint8)
        return outputs.Maps(photo, photo, *np.full((2, size, size), value, np.float32))

    average = outputs.Average(0.75)
    assert average(maps(0), True).mask.max() == 0
    assert average(maps(1), False).mask.max() == 0.25
    assert average(maps(1), True).mask.max() == 1
    assert average(maps(0, size=9), False).mask.shape == (9, 9)


def test_the_pair_is_checked_at_first_from_time_to_time_and_after_a_jump(monkeypatch):
    checked = []

    class Check:
        problems = ("moved",)
        verdict = "The camera moved."

    def check_pair(background, image):
        checked.append(image[0, 0, 0])
        return Check

    monkeypatch.setattr(outputs, "check_pair", check_pair)
    checks = outputs.Checks()
    for number in range(2 * outputs.CHECKED):
        photo = np.full((40, 40, 3), 250 if number == 7 else number, np.uint8)
        assert checks(outputs.Maps(photo, photo, photo, photo))[0] == "The camera moved."
    assert checked == [0, 250, 8, 8 + outputs.CHECKED]


def test_other_places_are_reported_and_unusable_images_refused(folder, weights):
    noise = np.random.default_rng(5).integers(0, 255, (9, 12, 3), np.uint8)
    other = cv2.resize(noise, (96, 72), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(other).save(folder / "images/shot_2.png")
    Image.fromarray(other[:40]).save(folder / "images/shot_3.png")
    (folder / "images/shot_4.png").write_bytes(b"no picture")
    report = predicted(folder, weights)
    assert list(report.problems) == ["shot_2"] and "another place" in report.problems["shot_2"]
    assert list(report.refused) == ["shot_3", "shot_4"]
    assert "same frame" in report.refused["shot_3"] and "shot_4.png" in report.refused["shot_4"]
    listed = {row["name"]: row for row in rows(folder / "out/images.csv")}
    assert listed["shot_4"]["object"] == "" and listed["shot_4"]["problem"]
    assert float(listed["shot_0"]["object"]) >= 0 and listed["shot_0"]["problem"] == ""
    shutil.copy(folder / "images/shot_0.png", folder / "images/shot_4.png")
    assert predicted(folder, weights).predicted == 1, "a refused image is tried again"
    assert len(rows(folder / "out/images.csv")) == COUNT


def test_a_full_disk_ends_the_run_and_a_second_call_goes_on(folder, weights, monkeypatch):
    written = outputs.write_png

    def full(path, picture):
        if path.name == "shot_3.png":
            raise InputError(f"{path} could not be written (No space left on device): repeat.")
        return written(path, picture)

    monkeypatch.setattr(outputs, "write_png", full)
    with pytest.raises(InputError, match="No space left"):
        predicted(folder, weights)
    assert threading.active_count() < 10, "the threads have ended"
    monkeypatch.undo()
    report = predicted(folder, weights)
    assert (report.predicted, report.known) == (COUNT - 3, 3)


def test_every_image_is_listed_in_order_wherever_a_run_ends(folder, weights, monkeypatch):
    (folder / "images/shot_1.png").write_bytes(b"no picture")
    written = outputs.write_png

    def killed(path, picture):
        written(path, picture)
        if path == folder / "out/depth/shot_3.png":
            raise KeyboardInterrupt

    monkeypatch.setattr(outputs, "write_png", killed)
    with pytest.raises(KeyboardInterrupt):
        predicted(folder, weights)
    monkeypatch.undo()
    with (folder / "out/images.csv").open("ab") as file:
        file.write("shot_é".encode()[:-1])  # cut short within a character
    (folder / "out/mask/shot_4.png.12.partial").write_bytes(b"half")
    assert predicted(folder, weights).predicted == 2
    predicted(folder, weights, out="whole")
    assert (folder / "out/images.csv").read_bytes() == (folder / "whole/images.csv").read_bytes()
    assert not list((folder / "out").rglob("*.partial"))


def test_a_video_that_the_disk_had_no_space_for_is_no_video(folder, weights, monkeypatch):
    """OpenCV says nothing: the file ends somewhere."""
    real = cv2.VideoWriter

    class Full:
        fourcc = staticmethod(real.fourcc)

        def __init__(self, path, *options):
            self.path = path
            self.real = real(path, *options)
            self.write = self.real.write

        def release(self):
            self.real.release()
            content = Path(self.path).read_bytes()
            Path(self.path).write_bytes(content[: len(content) // 2])

    write_video(folder / "clip.avi", shots()[1])
    options = {"outputs": ("replaced",), "replacement": folder / "background.png"}
    monkeypatch.setattr(outputs.cv2, "VideoWriter", Full)
    with pytest.raises(InputError, match=r"replaced\.mp4 could not be written"):
        predicted(folder, weights, "clip.avi", **options)
    assert not list((folder / "out").glob("*.mp4"))
    monkeypatch.undo()
    predicted(folder, weights, "clip.avi", **options)
    assert (folder / "out/replaced.mp4").is_file()


def test_a_list_that_was_cut_short_goes_on(folder, weights):
    predicted(folder, weights)
    path = folder / "out/images.csv"
    path.write_text(path.read_text().rstrip("\n")[:-3] + "\nshot_")
    (folder / "out/mask/shot_5.png").unlink()
    predicted(folder, weights)
    assert [row["name"] for row in rows(path)] == [f"shot_{number}" for number in range(COUNT)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("empty", "holds no pictures"),
        ("images/*.jpg", "holds no pictures"),
        ("nowhere", "holds no pictures"),
        ("twice", "have one name"),
        ("broken.mp4", "not a video"),
        ("empty.avi", r"no frame|not a video"),
    ],
)
def test_sources_without_images_are_refused(folder, source, message):
    (folder / "empty").mkdir()
    (folder / "twice").mkdir()
    for suffix in ("png", "jpg"):
        Image.new("RGB", (40, 40)).save(folder / f"twice/a.{suffix}")
    (folder / "broken.mp4").write_bytes(b"no video" * 100)
    write_video(folder / "empty.avi", shots(1)[1])
    content = (folder / "empty.avi").read_bytes()
    (folder / "empty.avi").write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(InputError, match=message):
        frames(str(folder / source))


def test_a_video_that_ends_early_is_said(folder, weights):
    video = write_video(folder / "clip.avi", shots(40)[1][:1] * 40)
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    report = predicted(folder, weights, "clip.avi", outputs=("mask",))
    assert 0 < report.predicted < 40 and not report.refused
    assert f"ends after {report.predicted} of the 40 frames" in report.notes[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ("masks",)}, "unknown"),
        ({"outputs": ("replaced",)}, "needs a photo"),
        ({"replacement": "background.png"}, "needs a photo"),
        ({"smooth": 1.0}, "smooth is 1"),
        ({"smooth": float("nan")}, "smooth is nan"),
        ({"shard": (4, 4)}, "shard is 5/4"),
        ({"shard": (-1, 4)}, "shard is 0/4"),
    ],
)
def test_unusable_options_are_refused_before_anything_is_written(folder, weights, options, message):
    if "replacement" in options:
        options = {"replacement": folder / options["replacement"]}
    with pytest.raises(InputError, match=message):
        predicted(folder, weights, **options)
    assert not (folder / "out").exists()


def test_the_command_line(folder, weights, capsys):
    (folder / "images/broken.png").write_bytes(b"no picture")
    command = ["--background", str(folder / "background.png"), "--images"]
    options = ["--out", str(folder / "out"), "--weights", str(weights)]
    assert main([*command, str(folder / "images/*.png"), *options, "--outputs", "mask"]) == 2
    shown = capsys.readouterr()
    assert f"{COUNT} images predicted, 0 known before, 1 refused" in shown.out
    assert "refused: broken: " in shown.err
    (folder / "images/broken.png").unlink()
    assert main([*command, str(folder / "images/*.png"), *options, "--outputs", "mask"]) == 0
    assert f"0 images predicted, {COUNT} known" in capsys.readouterr().out
    assert read_json(folder / "out/settings.json")["smooth"] == 0
    assert main([*command[:2], "--image", "a.png", "--shard", "1/2"]) == 2
    assert "--shard needs --images" in capsys.readouterr().err
    for shard in ("half", "1", "a/b"):
        with pytest.raises(SystemExit):
            main([*command, "x", "--shard", shard])
    assert "no part" in capsys.readouterr().err
