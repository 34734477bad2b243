import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import write_catalogue
from PIL import Image

from eva_helpers import assets, effects
from eva_helpers.images import InputError


def test_a_catalogue_is_read_with_its_split(tiny):
    assert len(tiny.scenes) == 6 and len(tiny.cutouts) == 6
    assert [scene.id for scene in tiny.backgrounds("test")] == ["s2", "s5"]
    assert len(tiny.objects(None)) == 6


def test_depth_decodes_to_inverse_depth_near_one():
    code = np.array([[0, 1, 1 + round(np.log(3.0 / 0.5) / 0.008)]], np.uint16)
    depth = assets.decode_depth(code, {"kind": "log", "near": 0.5, "step": 0.008}, z_near=1.5)
    assert depth.dtype == np.float32
    assert depth[0, 0] == 0 and depth[0, 1] == 1  # infinitely far; nearer than z_near
    assert depth[0, 2] == pytest.approx(1.5 / 3.0, rel=0.005)


def test_inverse_encoding_is_linear():
    assert assets.decode_depth(np.array([[0, 65535]], np.uint16), {"kind": "inverse"}, 1.0).tolist() == [[0.0, 1.0]]


def test_background_at_a_size_scales_the_focal_length(tiny):
    background, depth, ground, camera = assets.read_background(tiny, tiny.scenes[0], 48)
    assert background.shape == (48, 48, 3) and background.dtype == np.uint8
    assert depth.shape == ground.shape == (48, 48)
    assert camera.focal == pytest.approx(0.8 * 48) and camera.unit == pytest.approx(0.8)  # its focal length is its width
    assert depth[-1].mean() > depth[30].mean() > 0 and depth[0].max() == 0  # floor near at the bottom, nothing at the top


def test_depth_is_that_of_the_standard_camera(tiny):
    """The same ground from half the height through a lens twice as long: half the distance for the same picture, one label."""
    scene = replace(tiny.scenes[0], focal=96.0, camera_height=1.4)  # pictures are 96 px wide
    other = replace(scene, focal=192.0, camera_height=0.7)
    assert scene.camera(96).unit == pytest.approx(other.camera(96).unit) == pytest.approx(0.8)
    near, far = (assets.read_background(tiny, replace(scene, camera_height=height))[1] for height in (1.4, 2.8))
    between = (near > 0.1) & (far < 0.9)
    assert np.allclose(far[between], 2 * near[between], rtol=1e-3)
    z = effects.metres(near, focal=1.0, height=1.4, z_near=tiny.z_near)
    stored = assets.decode_depth(assets.read_map(scene.depth), tiny.depth_encoding, tiny.z_near)
    assert np.allclose(z[between], tiny.z_near / stored[between], rtol=1e-3)


@pytest.fixture
def broken(tmp_path):
    folder = write_catalogue(tmp_path / "park", 2, 2)

    def edit(change):
        data = json.loads((folder / "catalogue.json").read_text())
        change(data)
        (folder / "catalogue.json").write_text(json.dumps(data))
        return folder

    return edit


def test_missing_or_damaged_catalogue(tmp_path, broken):
    with pytest.raises(InputError, match=r"catalogue\.json"):
        assets.load_catalogue(tmp_path)
    folder = broken(lambda data: None)
    (folder / "catalogue.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        assets.load_catalogue(folder)


@pytest.mark.parametrize("name", ["s0.png", "s1_depth.png", "c0.png"])
def test_a_missing_or_empty_file_is_named(broken, name):
    folder = broken(lambda data: None)
    (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=name):
        assets.load_catalogue(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        assets.load_catalogue(folder)


def test_an_entry_without_depth_is_refused(broken):
    folder = broken(lambda data: data["scenes"][0].pop("depth"))
    with pytest.raises(InputError, match="depth"):
        assets.load_catalogue(folder)


def test_files_outside_the_folder_are_refused(broken):
    folder = broken(lambda data: data["scenes"][0].update(image="../secret.png"))
    (folder.parent / "secret.png").write_bytes(b"x")
    with pytest.raises(InputError, match="outside"):
        assets.load_catalogue(folder)


def test_depth_of_another_size_is_refused(broken):
    folder = broken(lambda data: None)
    Image.fromarray(np.zeros((10, 10), np.uint16)).save(folder / "s0_depth.png")
    catalogue = assets.load_catalogue(folder)
    with pytest.raises(InputError, match="10x10"):
        assets.read_background(catalogue, catalogue.scenes[0])


def test_unknown_split(tiny):
    with pytest.raises(InputError, match="training"):
        tiny.backgrounds("training")


def test_runs_never_share_a_folder(tmp_path):
    first, second = assets.new_run("x", tmp_path), assets.new_run("x", tmp_path)
    assert first != second and first.is_dir() and second.is_dir()


def test_metrics_of_other_notebooks_stay(tmp_path):
    assets.record_metrics(tmp_path, "a", {"x": 1})
    path = assets.record_metrics(tmp_path, "b", {"y": 2.0})
    assert json.loads(path.read_text()) == {"a": {"x": 1}, "b": {"y": 2.0}}


def test_a_run_folder_on_google_drive_is_mounted_first(monkeypatch, tmp_path):
    monkeypatch.setattr(assets, "DRIVE", tmp_path / "drive")
    with pytest.raises(InputError, match="only Colab"):
        assets.run_folder(tmp_path / "drive" / "runs")
    colab = types.ModuleType("google.colab")
    colab.drive = types.SimpleNamespace(mount=lambda place: Path(place).mkdir())
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    assert assets.run_folder(tmp_path / "drive" / "runs").is_dir()
