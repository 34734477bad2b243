"""Reading catalogues: splits, depth, cameras, and the messages when something is wrong."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_catalogue
from PIL import Image

from eva_helpers.catalogue import catalogue as module
from eva_helpers.catalogue.catalogue import load_catalogue
from eva_helpers.catalogue.reading import decode_depth, read_background, read_cutout, read_pair
from eva_helpers.files import InputError
from eva_helpers.images import read_map
from eva_helpers.predict import effects

LOG = {"kind": "log", "near": 0.5, "step": 0.008}


def test_a_catalogue_is_read_with_its_split(tiny):
    assert len(tiny.scenes) == 6 and len(tiny.cutouts) == 6
    assert [scene.id for scene in tiny.backgrounds("test")] == ["s2", "s5"]
    assert len(tiny.objects(None)) == 6


def test_depth_decodes_to_inverse_depth_near_one():
    code = np.array([[0, 1, 1 + round(np.log(3.0 / 0.5) / 0.008)]], np.uint16)
    depth = decode_depth(code, LOG, z_near=1.5)
    assert depth.dtype == np.float32
    assert depth[0, 0] == 0 and depth[0, 1] == 1  # infinitely far; nearer than z_near
    assert depth[0, 2] == pytest.approx(1.5 / 3.0, rel=0.005)


def test_inverse_encoding_is_linear():
    code = np.array([[0, 13107, 65535]], np.uint16)
    depth = decode_depth(code, {"kind": "inverse"}, 1.0)
    assert depth.dtype == np.float32 and depth[0] == pytest.approx([0.0, 0.2, 1.0])


def test_unknown_encoding():
    with pytest.raises(InputError, match="'metric' is unknown"):
        decode_depth(np.zeros((2, 2), np.uint16), {"kind": "metric"}, 1.0)


def test_background_at_a_size_scales_the_focal_length(tiny):
    background, depth, ground, camera = read_background(tiny, tiny.scenes[0], 48)
    assert background.shape == (48, 48, 3) and background.dtype == np.uint8
    assert depth.shape == ground.shape == (48, 48)
    assert camera.focal == pytest.approx(0.8 * 48)
    assert camera.unit == pytest.approx(0.8)  # its focal length is its width
    assert depth[-1].mean() > depth[30].mean() > 0  # the floor is near at the bottom
    assert depth[0].max() == 0  # nothing at the top


def test_depth_is_that_of_the_standard_camera(tiny):
    """From half the height through a lens twice as long, the ground has the same label."""
    scene = replace(tiny.scenes[0], focal=96.0, camera_height=1.4)  # pictures are 96 px wide
    other = replace(scene, focal=192.0, camera_height=0.7)
    assert scene.camera(96).unit == pytest.approx(other.camera(96).unit) == pytest.approx(0.8)
    near, far = (
        read_background(tiny, replace(scene, camera_height=height))[1] for height in (1.4, 2.8)
    )
    between = (near > 0.1) & (far < 0.9)
    assert np.allclose(far[between], 2 * near[between], rtol=1e-3)
    z = effects.metres(near, focal=1.0, height=1.4, z_near=tiny.z_near)
    stored = decode_depth(read_map(scene.depth), tiny.depth_encoding, tiny.z_near)
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
    with pytest.raises(InputError, match=r"catalogue\.json.*assets/park"):
        load_catalogue(tmp_path)
    folder = broken(lambda data: None)
    (folder / "catalogue.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        load_catalogue(folder)
    (folder / "catalogue.json").write_text("[1]")
    with pytest.raises(InputError, match="has no named values"):
        load_catalogue(folder)


def test_a_missing_park_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PARK", tmp_path)
    with pytest.raises(InputError, match=r"embedded park.*clone the repository.*catalogue folder"):
        load_catalogue(tmp_path)


def test_an_installed_package_without_the_repository_says_so(tmp_path):
    code = "from eva_helpers.catalogue import open_catalogue; open_catalogue()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"EVA_ROOT": str(tmp_path)},
    )
    assert "the embedded park is not at" in done.stderr and done.returncode == 1


@pytest.mark.parametrize("name", ["s0.png", "s1_depth.png", "c0.png"])
def test_a_missing_or_empty_file_is_named(broken, name):
    folder = broken(lambda data: None)
    (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=name):
        load_catalogue(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        load_catalogue(folder)


@pytest.mark.parametrize("field", ["id", "scene", "split", "image", "depth"])
def test_an_incomplete_scene_is_refused(broken, field):
    folder = broken(lambda data: data["scenes"][0].pop(field))
    with pytest.raises(InputError, match=rf"scenes\[0\]\.{field} is missing"):
        load_catalogue(folder)


def test_files_outside_the_folder_are_refused(broken):
    folder = broken(lambda data: data["scenes"][0].update(image="../secret.png"))
    (folder.parent / "secret.png").write_bytes(b"x")
    with pytest.raises(InputError, match="outside"):
        load_catalogue(folder)


def test_depth_of_another_size_is_refused(broken):
    folder = broken(lambda data: None)
    Image.fromarray(np.zeros((10, 10), np.uint16)).save(folder / "s0_depth.png")
    catalogue = load_catalogue(folder)
    with pytest.raises(InputError, match=r"s0_depth\.png is 10x10, but s0\.png 96x96"):
        read_background(catalogue, catalogue.scenes[0])


def test_a_relief_is_in_metres_and_as_large_as_its_picture(broken):
    folder = broken(lambda data: data["cutouts"][0].update(relief="relief.png"))
    Image.fromarray(np.full((40, 40), 178, np.uint8)).save(folder / "relief.png")
    catalogue = load_catalogue(folder)
    rgba, relief = read_cutout(catalogue, catalogue.cutouts[0])
    assert rgba.shape == (40, 40, 4) and relief == pytest.approx(np.full((40, 40), 0.5))
    Image.fromarray(np.zeros((9, 40), np.uint8)).save(folder / "relief.png")
    with pytest.raises(InputError, match=r"relief\.png is 40x9, but c0\.png 40x40"):
        read_cutout(catalogue, catalogue.cutouts[0])


@pytest.mark.parametrize("place", [{}, {"top": 60, "left": 60}])
def test_a_pair_that_does_not_fit_its_view_is_refused(broken, place):
    pair = {"id": "p", "scene": "s0", "object": 0, "split": "train", "image": "c0.png"}
    pair |= {"mask": "mask.png", "depth": "depth.png"} | place
    folder = broken(lambda data: data.update(pairs=[pair]))
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "mask.png")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(folder / "depth.png")
    with pytest.raises(InputError, match="pair p: its image is 40x40, its view 96x96"):
        catalogue = load_catalogue(folder)
        read_pair(catalogue, catalogue.pairs[0])


def test_unknown_split(tiny):
    with pytest.raises(InputError, match="training"):
        tiny.backgrounds("training")


def test_an_empty_split(broken):
    catalogue = load_catalogue(broken(lambda data: None))
    with pytest.raises(InputError, match="no cut-out in split 'test'"):
        catalogue.objects("test")
