"""Rendered worlds: exact distances, the same for the same seed, composites as of any background."""

import numpy as np
import pytest

from eva_helpers.catalogue import read_background
from eva_helpers.data import CompositeDataset
from eva_helpers.files import InputError
from eva_helpers.worlds import textures
from eva_helpers.worlds.files import main, with_objects, write_worlds
from eva_helpers.worlds.parts import Plan
from eva_helpers.worlds.plans import KINDS, room
from eva_helpers.worlds.rays import Box, Ellipsoid, Ground, Post, first_hits, in_shadow, normals_at
from eva_helpers.worlds.render import camera_rays, make_world

EYE = np.float32([0, 1, 0])


def cast(solid, *directions):
    return first_hits([solid], EYE, np.float32(directions)).t


def test_solids_are_met_where_they_are():
    assert cast(Ground(0), (0, -0.5, 1), (0, 0.5, 1), (0, 0, 1)) == pytest.approx(
        [2, np.inf, np.inf]
    )
    box = Box((0, 1, 5), (2, 2, 2), 0)
    assert cast(box, (0, 0, 1), (0.3, 0, 1), (0, 0, -1)) == pytest.approx([4, np.inf, np.inf])
    turned = Box((0, 1, 5), (2, 2, 2), 0, yaw=np.pi / 4)
    assert cast(turned, (0, 0, 1)) == pytest.approx([5 - np.sqrt(2)], rel=1e-5)
    room_box = Box((0, 1, 0), (4, 4, 6), 0, inside=True)
    assert cast(room_box, (0, 0, 1), (1, 0, 0)) == pytest.approx([3, 2])
    assert cast(Ellipsoid((0, 1, 4), (1, 1, 2), 0), (0, 0, 1), (1, 0, 0)) == pytest.approx(
        [2, np.inf]
    )
    post = Post((0, 3), 0.5, (0, 2), 0)
    assert cast(post, (0, 0, 1), (0, 1, 1), (1, 0, 1)) == pytest.approx([2.5, np.inf, np.inf])


@pytest.mark.parametrize(
    "solid",
    [
        Box((0.3, 1, 5), (2, 2, 2), 0, yaw=0.7),
        Ellipsoid((0.2, 1.1, 4), (1, 0.8, 2), 0),
        Post((0.1, 3), 0.5, (0, 2), 0),
        Ground(0),
    ],
)
def test_normals_face_the_camera_and_are_those_of_the_surface(solid):
    rng = np.random.default_rng(0)
    direction = np.float32([0, -0.1, 1]) + rng.normal(0, 0.03, (50, 3)).astype(np.float32)
    hits = first_hits([solid], EYE, direction)
    assert np.isfinite(hits.t).all()
    points = EYE + hits.t[:, None] * direction
    normals = normals_at([solid], hits, points)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(50), rel=1e-4)
    assert ((normals * direction).sum(1) < 0).all()
    tangent = np.cross(normals, direction)
    near = first_hits([solid], EYE, direction + 1e-3 * tangent).t
    moved = EYE + near[:, None] * (direction + 1e-3 * tangent) - points
    share = np.abs((moved * normals).sum(1)) / np.linalg.norm(moved, axis=1).clip(1e-9)
    assert np.median(share) < 0.02, "a small move on the surface is at right angles to the normal"


def test_the_nearest_solid_hides_the_others_and_casts_a_shadow():
    solids = [Ground(0), Box((0, 1, 5), (2, 2, 1), 1), Box((0, 1, 9), (2, 2, 1), 2)]
    assert first_hits(solids, EYE, np.float32([[0, 0, 1]])).solid == [1]
    sun = np.float32([0, 1000, -1000])
    points = np.float32([[0, 0.01, 6.5], [0, 0.01, 3.0]])
    assert in_shadow(solids, points, sun).tolist() == [True, False]


def test_the_ground_of_a_camera_is_at_its_height_over_the_slope():
    rays = camera_rays(64, focal=64.0, height=1.5, pitch=-0.2)
    hits = first_hits([Ground(0)], *rays)
    points = rays.origin + hits.t[:, None] * rays.direction
    met = np.isfinite(hits.t)
    assert np.abs(points[met, 1]).max() < 1e-3
    ahead = np.float32([0, np.sin(-0.2), np.cos(-0.2)])
    along = ((points[met] - rays.origin) * ahead).sum(1)
    assert along == pytest.approx(hits.t[met], rel=1e-4), "t is the distance along the view"


@pytest.mark.parametrize("kind", KINDS)
def test_a_world_is_a_picture_with_exact_distances(kind):
    world = make_world(3, 64, kind)
    again = make_world(3, 64, kind)
    assert np.array_equal(world.photo, again.photo)
    assert np.array_equal(world.distance, again.distance)
    other = make_world(4, 64, kind)
    assert not np.array_equal(world.photo, other.photo)
    assert world.photo.dtype == np.uint8 and world.photo.shape == (64, 64, 3)
    assert world.photo.std() > 5 and (world.distance > 0).all()
    assert np.isfinite(world.distance).mean() > 0.3
    if kind == "room":
        assert np.isfinite(world.distance).all() and world.distance.max() < 20
    rays = camera_rays(64, world.focal, world.camera_height, world.pitch)
    height = rays.origin[1] + world.distance.reshape(-1) * rays.direction[:, 1]
    assert np.abs(height[world.ground.reshape(-1)]).max(initial=0) < 1e-2


def test_worlds_stand_up_from_the_ground_at_every_distance():
    near = far = 0
    for seed in range(40):
        world = make_world(seed, 32, "garden")
        stands = np.isfinite(world.distance) & ~world.ground
        near += bool((stands & (world.distance < 3)).mean() > 0.02)
        far += bool((stands & (world.distance > 8)).mean() > 0.02)
    assert near > 8 and far > 8


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="expected one of room"):
        make_world(0, 64, "moon")


def test_plans_depend_on_their_generator_alone():
    plans = [Plan(np.random.default_rng(5)) for _ in range(2)]
    for plan in plans:
        room(plan)
    assert plans[0].solids == plans[1].solids and plans[0].textures == plans[1].textures


@pytest.mark.parametrize(
    "paint", [textures.grain, textures.bricks, textures.stripes, textures.plain]
)
def test_textures_are_pictures_that_fade_with_distance(paint):
    rng = np.random.default_rng(1)
    texture = textures.layered(paint(rng), 1.0)
    assert texture.levels.shape == (textures.LEVELS, textures.SIDE, textures.SIDE, 3)
    u = np.linspace(-3, 3, 500)
    near, far = (textures.sample(texture, u, u, np.full(500, size)) for size in (1e-3, 10.0))
    assert ((0 <= near) & (near <= 1)).all() and far.std() <= near.std()
    again = textures.sample(texture, u + 1, u, np.full(500, 1e-3))
    assert np.abs(again - near).mean() < 0.05, "repeated every metre"


def test_photos_become_textures():
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[..., 0] = 200
    part = textures.photo_part(np.random.default_rng(0), [photo])
    assert part.shape == (textures.SIDE, textures.SIDE, 3) and (part[..., 0] == 200).all()


def test_worlds_as_a_catalogue(tmp_path, park):
    worlds = write_worlds(tmp_path, 10, size=64, park=park)
    stored = (tmp_path / "worlds" / "00003.png").stat().st_mtime_ns
    assert write_worlds(tmp_path, 10, size=64, park=park) == worlds
    assert (tmp_path / "worlds" / "00003.png").stat().st_mtime_ns == stored, "finished ones stay"
    assert [len(worlds.backgrounds(split)) for split in ("train", "validation", "test")] == [
        7,
        1,
        2,
    ]
    scene = worlds.scenes[0]
    photo, depth, ground, camera = read_background(worlds, scene)
    world = make_world(0, 64, photos=[])
    assert photo.shape == (64, 64, 3) and camera.unit > 0
    expected = worlds.z_near / (world.distance * camera.unit)
    assert np.abs(depth - expected.clip(0, 1)).max() < 0.005 and np.array_equal(
        ground, world.ground
    )
    data = CompositeDataset(with_objects(worlds, park), size=32, strength=1.0, augment=True)
    sample = data[1]
    assert sample["mask"].max() > 0.9 and sample["depth"].max() > 0


def test_worlds_of_other_settings_are_refused(tmp_path, park, capsys):
    with pytest.raises(InputError, match="expected 10 at least"):
        write_worlds(tmp_path, 3)
    assert main([str(tmp_path), "--count", "10", "--size", "32"]) == 0
    assert "10 worlds" in capsys.readouterr().out
    assert main([str(tmp_path), "--count", "10", "--size", "64"]) == 2
    assert "other settings" in capsys.readouterr().err
    other = type(park)(**(vars(park) | {"z_near": 3.0}))
    with pytest.raises(InputError, match="z_near"):
        with_objects(write_worlds(tmp_path, 10, size=32, park=park), other)
