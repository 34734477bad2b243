"""From a coarse mask to one at the photo's own size."""

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, smooth

from eva_helpers.evaluation.matting import mask_iou
from eva_helpers.model import MaskDepthNet, Refiner, fit, match, with_refiner
from eva_helpers.model.refiner import REACH
from eva_helpers.refinement import CoarseToFine, passes, tiles
from eva_helpers.refinement.aligned import AlignedPair, as_tensor
from eva_helpers.refinement.boxes import MOST, grown, object_boxes


def disc(shape, centre, radius):
    rows, columns = np.indices(shape)
    away = np.hypot(rows + 0.5 - centre[0], columns + 0.5 - centre[1])
    return np.clip(radius - away + 0.5, 0, 1).astype(np.float32)


@pytest.fixture
def scene():
    """A background of 480 x 360, and an image with a disc of 100 px in it; its mask."""
    background = smooth(np.random.default_rng(0), 480)[:360]
    mask = disc((360, 480), (150, 260), 50)
    image = background * (1 - mask[..., None]) + np.float32([20, 30, 40]) * mask[..., None]
    return background, np.rint(image).astype(np.uint8), mask


class Perfect(MaskDepthNet):
    """Finds all differences in colour; its first pass sees the photos as they are."""

    def predict_mask(self, background, image):
        change = (image - background).abs().amax(1, keepdim=True)
        return (change - 0.1) * 200

    def predict_layers(self, background, image):
        mask = self.predict_mask(background, image)
        return mask, torch.cat([torch.full_like(mask, 0.2), torch.full_like(mask, 0.5)], 1)


def test_boxes_lie_around_objects():
    mask = np.maximum(disc((60, 80), (15, 15), 8), disc((60, 80), (40, 65), 5))
    found = object_boxes(mask, (600, 800))
    assert len(found) == 2
    for (top, left, bottom, right), (row, column, radius) in zip(
        found, [(15, 15, 8), (40, 65, 5)], strict=True
    ):
        assert top <= 10 * (row - radius) and bottom >= 10 * (row + radius)
        assert left <= 10 * (column - radius) and right >= 10 * (column + radius)
        assert bottom - top < 10 * 2 * (1.4 * radius + 6)


def test_boxes_stay_in_the_frame_and_take_its_edge():
    (box,) = object_boxes(disc((60, 80), (0, 79), 10), (601, 799))
    assert box[0] == 0 and box[3] == 799
    assert object_boxes(np.ones((60, 80), np.float32), (600, 800)) == [(0, 0, 600, 800)]


@pytest.mark.parametrize("mask", [np.zeros((60, 80), np.float32), disc((60, 80), (30, 30), 1)])
def test_no_box_for_nothing_or_specks(mask):
    assert object_boxes(mask, (600, 800)) == []


def test_grown_boxes_hold_the_box_in_the_frame():
    rng = np.random.default_rng(0)
    frame = (480, 630)
    for _ in range(200):
        top, bottom = np.sort(rng.choice(frame[0] + 1, 2, replace=False)).tolist()
        left, right = np.sort(rng.choice(frame[1] + 1, 2, replace=False)).tolist()
        found = grown((top, left, bottom, right), 64, frame)
        assert 0 <= found[0] <= top and 0 <= found[1] <= left
        assert bottom <= found[2] <= frame[0] and right <= found[3] <= frame[1]
        for side, limit in zip((found[2] - found[0], found[3] - found[1]), frame, strict=True):
            assert side % 64 == 0 or side == limit


def test_many_objects_are_seen_in_few_sizes(monkeypatch):
    """Each size of a tensor takes memory for good."""

    def sizes(step):
        seen = set()
        fine = CoarseToFine(Perfect(TINY), 64, step)

        def second_pass(pair, box, size):
            seen.add(size)
            return np.zeros(size, np.float32)

        monkeypatch.setattr(fine, "second_pass", second_pass)
        rng = np.random.default_rng(0)
        photo = smooth(rng, 800)[:600]
        pair, _, _ = fine.first_pass(photo, photo)
        for _ in range(40):
            radius = rng.uniform(3, 20)
            fine.refined(pair, disc((48, 64), rng.uniform(0, 1, 2) * (48, 64), radius))
        return len(seen)

    assert sizes(64) < 20 < 30 < sizes(1)


def test_dozens_of_small_changes_share_a_few_boxes():
    rng = np.random.default_rng(0)
    mask = np.zeros((200, 200), np.float32)
    for row, column in rng.integers(5, 195, (60, 2)):
        mask[row - 2 : row + 2, column - 2 : column + 2] = 1
    found = object_boxes(mask, mask.shape)
    assert 1 <= len(found) <= MOST
    inside = np.zeros(mask.shape, bool)
    for top, left, bottom, right in found:
        assert not inside[top:bottom, left:right].any(), "boxes do not overlap"
        inside[top:bottom, left:right] = True
    assert inside[mask > 0].all()


def test_the_alignment_of_a_small_copy_holds_at_any_size():
    background = smooth(np.random.default_rng(3), 640)[:400]
    turn = cv2.getRotationMatrix2D((320, 200), 0.8, 1.01) + [[0, 0, 4.0], [0, 0, -3.0]]
    image = cv2.warpAffine(background, turn, (640, 400), borderMode=cv2.BORDER_REFLECT_101)
    image = np.rint(image * np.float32([0.9, 0.95, 1.0])).astype(np.uint8)
    pair = AlignedPair(background, image, (140, 224))
    box = (100, 200, 300, 500)
    photos = [photo[100:300, 200:500] for photo in (background, image)]
    before = np.abs(photos[0].astype(float) - photos[1]).mean()
    aligned, goal = pair.tensors(*pair.crop(box, (200, 300)))
    assert np.array_equal(goal, as_tensor(photos[1]))
    after = 255 * float((aligned - goal).abs().mean())
    assert after < 0.25 * before
    half = pair.tensors(*pair.crop(box, (100, 150)))
    assert 255 * float((half[0] - half[1]).abs().mean()) < 0.25 * before


def test_the_matrix_moves_as_the_network_does():
    rng = np.random.default_rng(1)
    background = smooth(rng, 200)[:150]
    image = np.roll(background, (2, -3), axis=(0, 1))
    found = fit(as_tensor(background), as_tensor(image))
    assert found.better.item()
    matrix = found.matrix(0, 150, 200)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        background, matrix, (200, 150), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    expected = 255 * found.move(as_tensor(background))[0].permute(1, 2, 0).numpy()
    assert np.abs(moved - expected).max() < 3
    toned = found.tone(found.move(as_tensor(background)), as_tensor(image))
    assert torch.equal(toned, match(as_tensor(background), as_tensor(image)))


def test_pairs_that_do_not_get_closer_are_not_moved():
    photo = as_tensor(smooth(np.random.default_rng(0), 100))
    found = fit(photo, photo)
    if not found.better.item():
        assert np.array_equal(found.matrix(0, 100, 100), np.eye(2, 3))
    pair = AlignedPair(*[smooth(np.random.default_rng(0), 100)] * 2, (100, 100))
    assert pair.moved is pair.background, "nothing is resampled for less than a quarter of a pixel"


def test_a_new_refiner_changes_nothing_and_a_tile_is_as_in_its_picture():
    torch.manual_seed(0)
    photos = torch.rand(2, 1, 3, 96, 128)
    mask = torch.rand(1, 1, 96, 128) * 0.9 + 0.05
    refiner = Refiner(8)
    with torch.no_grad():
        assert torch.allclose(refiner(*photos, mask).sigmoid(), mask, atol=1e-5)
        for parameter in refiner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        whole = refiner(*photos, mask)
        part = refiner(*photos[..., 20:, 30:], mask[..., 20:, 30:])
    inner = (..., slice(REACH, -REACH), slice(REACH, -REACH))
    assert torch.allclose(whole[..., 20:, 30:][inner], part[inner], atol=1e-5)
    assert not torch.allclose(whole.sigmoid(), mask, atol=0.01)


def test_tiles_follow_the_outline():
    mask = disc((300, 400), (150, 200), 80)
    found = tiles.outline_tiles(mask, (600, 800))
    covered = np.zeros((600 + tiles.TILE, 800 + tiles.TILE), bool)
    for top, left in found:
        covered[top : top + tiles.TILE, left : left + tiles.TILE] = True
    soft = cv2.resize(mask, (800, 600))
    assert covered[:600, :800][(soft > 0.03) & (soft < 0.97)].all()
    assert not covered[300, 400] and not covered[20, 20], "neither inside nor far away"
    assert tiles.outline_tiles(np.zeros((30, 40), np.float32), (60, 80)) == []
    assert tiles.outline_tiles((mask > 0.5).astype(np.float32), (600, 800)), "a sharp edge as well"


def test_tiles_together_are_the_whole_picture(scene):
    """No seams: refining tile by tile is refining everything at once."""
    background, image, truth = scene
    torch.manual_seed(1)
    refiner = Refiner(8).eval()
    with torch.no_grad():
        for parameter in refiner.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    small = cv2.resize(truth, (240, 180), interpolation=cv2.INTER_AREA)
    made = tiles.sharpened(refiner, lambda photo, _: photo, background, image, small)
    large = torch.from_numpy(cv2.resize(small, (480, 360)))[None, None]
    with torch.no_grad():
        whole = refiner(as_tensor(background), as_tensor(image), large).sigmoid()[0, 0].numpy()
    near = np.abs(made - cv2.resize(small, (480, 360))) > 1e-3
    inner = np.zeros_like(near)
    inner[REACH:-REACH, REACH:-REACH] = True
    assert near.any() and np.abs(made - whole)[near & inner].max() < 0.03  # bfloat16


def test_an_outline_that_is_everywhere_is_only_enlarged(scene, monkeypatch):
    monkeypatch.setattr(tiles, "MOST", 3)
    background, image, _ = scene
    noise = np.random.default_rng(0).random((180, 240), np.float32)
    made = tiles.sharpened(None, None, background, image, noise)
    assert np.array_equal(made, cv2.resize(noise, (480, 360)))


def test_the_second_pass_is_sharper_and_meets_the_coarse_mask_without_a_seam(scene):
    background, image, truth = scene
    fine = CoarseToFine(Perfect(TINY), 64)
    pair, coarse, _ = fine.first_pass(background, image)
    assert coarse.shape == (48, 64)
    mask = fine.refined(pair, coarse)
    once = cv2.resize(coarse, (480, 360))
    assert mask.shape == (360, 480) and 0 <= mask.min() and mask.max() <= 1
    assert mask_iou(mask, truth) > 0.97 > mask_iou(once, truth)
    away = cv2.dilate(truth, np.ones((9, 9)))[:, 1:] == 0
    assert np.abs(np.diff(mask, axis=1))[away].max() < 0.1


def test_nothing_is_done_twice_at_the_same_resolution(scene, monkeypatch):
    background, image, _ = scene
    calls = []
    fine = CoarseToFine(Perfect(TINY))
    monkeypatch.setattr(fine, "second_pass", lambda *a: calls.append(a) or 1 / 0)
    small = (slice(0, 200), slice(0, 200))
    everywhere = np.ones((200, 200), np.float32)
    pair = AlignedPair(background[small], image[small], (200, 200))
    assert np.array_equal(fine.refined(pair, everywhere), everywhere)
    assert not calls


def test_depth_follows_the_edges_of_the_mask(scene):
    background, image, truth = scene
    mask, depth = CoarseToFine(Perfect(TINY), 64).maps(background, image)
    assert np.allclose(depth[mask < 0.01], 0.2, atol=0.01)
    assert np.allclose(depth[mask > 0.99], 0.2 + 0.8 * 0.5, atol=0.01)
    assert depth.shape == truth.shape and depth.dtype == np.float32


def test_a_network_without_refiner_is_only_enlarged(scene):
    background, image, _ = scene
    plain = Perfect(TINY).eval()
    twin = Perfect(with_refiner(plain, 8).config).eval()
    twin.load_state_dict(with_refiner(plain, 8).state_dict())
    large = [np.kron(photo, np.ones((3, 3, 1), np.uint8)) for photo in (background, image)]
    masks = [CoarseToFine(net, 64).maps(*large)[0] for net in (plain, twin)]
    assert np.abs(masks[0] - masks[1]).max() < 0.02, "a new refiner changes nothing"


SHAPES = [(40, 4000), (4000, 33), (2000, 2500)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["everything", "leaves", "nothing"])
def test_odd_photos_are_bounded_and_never_lose_what_the_first_pass_found(shape, kind):
    rng = np.random.default_rng(0)
    background = cv2.resize(smooth(rng, 64), shape[::-1])
    image = background.copy()
    truth = np.zeros(shape, np.float32)
    if kind == "everything":
        truth[:] = 1
    elif kind == "leaves":
        for row, column in rng.integers(0, np.array(shape) - 20, (60, 2)):
            truth[row : row + 20, column : column + 20] = 1
    image[truth > 0] = 255 - image[truth > 0]
    fine = CoarseToFine(Perfect(TINY))
    mask, depth = fine.maps(background, image)
    _, coarse, _ = fine.first_pass(background, image)
    once = cv2.resize(coarse, shape[::-1])
    assert mask.shape == depth.shape == shape and np.isfinite(mask).all()
    assert mask_iou(mask, truth) >= mask_iou(once, truth) - 0.02
    if kind == "nothing":
        assert not (mask > 0.5).any()


def test_batches_of_tensors_are_predicted_as_photos_are(scene):
    background, image, _ = scene
    fine = CoarseToFine(Perfect(TINY), 64)
    batch = [torch.cat([as_tensor(photo), as_tensor(photo[:, ::-1])]) for photo in scene[:2]]
    mask, depth = fine(*batch)
    assert mask.shape == depth.shape == (2, 1, 360, 480)
    expected = fine.maps(background, image)
    assert np.array_equal(mask[0, 0], expected[0]) and np.array_equal(depth[0, 0], expected[1])


def test_a_finer_pass_is_held_to_what_the_first_one_is_sure_of():
    """Away from the coarse outline: at it, the fine mask is free."""
    coarse = disc((60, 80), (30, 40), 15)
    evidence = passes._evidence(coarse)
    assert evidence[30, 40] > 3 and evidence[5, 5] < -3 and evidence[30, 25] == 0
    part = passes._inside(evidence, (600, 800), (100, 200, 500, 600), (200, 200))
    assert part.shape == (200, 200) and abs(part[100, 100] - evidence[30, 40]) < 1e-4
    assert part[2, 2] < -3, "the corner of the box lies outside the disc"
    likely = passes._supported(np.full((200, 200), 0.75, np.float32), part)
    assert likely[100, 100] > 0.95 and likely[2, 2] < 0.5
    assert likely[part == 0] == pytest.approx(0.75, abs=1e-3)


def test_the_box_of_the_whole_frame_is_the_map_itself():
    rng = np.random.default_rng(0)
    small = rng.random((30, 40)).astype(np.float32)
    assert np.allclose(passes._inside(small, (300, 400), (0, 0, 300, 400), (30, 40)), small)
