import json

import numpy as np
import pytest
import torch
from conftest import smooth, write_catalogue
from PIL import Image

from eva_helpers import assets, dataset
from eva_helpers.images import InputError


def test_length_and_order_are_the_sources(tiny):
    pairs = dataset.CompositeDataset(tiny, "train", "train", positions=20)
    assert len(pairs) == 3 * 3 * 20 * 2
    assert pairs.where(0) == (0, 0, 0, False) and pairs.where(1) == (0, 0, 0, True)
    assert pairs.where(40) == (0, 1, 0, False) and pairs.where(120) == (1, 0, 0, False)
    with pytest.raises(IndexError):
        pairs.where(len(pairs))


@pytest.mark.parametrize("placement", dataset.PLACEMENTS)
@pytest.mark.parametrize("augment", [False, True])
def test_the_data_contract(tiny, placement, augment):
    pairs = dataset.CompositeDataset(tiny, size=48, placement=placement, augment=augment, strength=1.0)
    for index in range(0, len(pairs), 71):
        sample = pairs[index]
        assert tuple(sample) == dataset.MAPS
        for name, value in sample.items():
            assert value.dtype == torch.float32 and value.shape == (3 if name in ("background", "image") else 1, 48, 48)
            assert value.min() >= 0 and value.max() <= 1


def test_outside_the_mask_nothing_changes_without_capture_differences(tiny):
    pairs = dataset.CompositeDataset(tiny, size=64)
    for index in range(0, len(pairs), 53):
        sample = pairs[index]
        outside = (sample["mask"] == 0).expand(3, -1, -1)
        assert torch.equal(sample["image"][outside], sample["background"][outside])
        assert sample["mask"].max() > 0.5


def test_items_depend_on_index_and_seed_only(tiny):
    options = {"size": 48, "augment": True, "strength": 1.0, "empty": 0.2}
    one, two = (dataset.CompositeDataset(tiny, **options, seed=3) for _ in range(2))
    forward = [one[i] for i in range(0, 300, 50)]
    backward = [two[i] for i in reversed(range(0, 300, 50))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in dataset.MAPS)
    other = dataset.CompositeDataset(tiny, **options, seed=4)
    assert not torch.equal(one[50]["image"], other[50]["image"])


def test_workers_do_not_change_the_numbers(tiny):
    pairs = dataset.CompositeDataset(tiny, size=48, augment=True, strength=1.0)
    batches = [list(dataset.loader(pairs, 8, samples=32, workers=workers, seed=1)) for workers in (0, 2)]
    for a, b in zip(*batches, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in dataset.MAPS)


def test_epochs_draw_new_items(tiny):
    loader = dataset.loader(dataset.CompositeDataset(tiny, size=48), 16, samples=32, seed=1)
    first, second = (torch.cat([batch["image"] for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)


def test_empty_samples_have_no_object(tiny):
    pairs = dataset.CompositeDataset(tiny, size=48, empty=1.0)
    assert all(pairs[i]["mask"].max() == 0 and torch.equal(pairs[i]["image"], pairs[i]["background"]) for i in range(5))


def test_grounded_objects_stand_on_the_floor(tiny):
    pairs = dataset.CompositeDataset(tiny, size=96, placement="grounded")
    for index in range(0, len(pairs), 37):
        sample = pairs.composite(index)
        rows = np.flatnonzero(sample["mask"].max(1) > 0.5)
        if len(rows):
            assert rows[-1] >= 96 * 0.55, "feet are on the walkable part"


def test_quadrants_do_not_leak(tiny):
    seen, unseen = (dataset.quadrant(tiny, name) for name in (next(iter(dataset.QUADRANTS)), list(dataset.QUADRANTS)[3]))
    assert not {s.scene for s in seen.scenes} & {s.scene for s in unseen.scenes}
    assert not {o.object for o in seen.objects} & {o.object for o in unseen.objects}


def test_a_cutout_without_metric_size_falls_back_to_anywhere(tmp_path):
    folder = write_catalogue(tmp_path / "c")
    data = json.loads((folder / "catalogue.json").read_text())
    for cutout in data["cutouts"]:
        del cutout["metres_per_pixel"], cutout["contact"]
    (folder / "catalogue.json").write_text(json.dumps(data))
    sample = dataset.CompositeDataset(assets.load_catalogue(folder), placement="grounded")[7]
    assert sample["mask"].max() > 0.5


def test_bad_settings_are_refused(tiny):
    with pytest.raises(ValueError, match="placement"):
        dataset.CompositeDataset(tiny, placement="sky")
    with pytest.raises(ValueError, match="size"):
        dataset.CompositeDataset(tiny, size=8)


def test_statistics_match_numpy(tiny):
    pairs = dataset.CompositeDataset(tiny, size=48)
    items = [pairs[i] for i in range(20)]
    mean, std = dataset.statistics(items)["image"]
    stacked = torch.stack([item["image"] for item in items]).double().numpy()
    assert np.allclose(mean, stacked.mean((0, 2, 3))) and np.allclose(std, stacked.std((0, 2, 3)))


@pytest.fixture
def source_folder(tmp_path):
    """Ten composites in the source's layout, four to a background; the depth of composite n is n / 16 in the source's polarity."""
    rng = np.random.default_rng(0)
    for name in ("bg", "fg_bg", "fg_bg_mask", "depthmap"):
        (tmp_path / name).mkdir()
    for number in range(1, 4):
        Image.fromarray(smooth(rng, 80)).save(tmp_path / f"bg/bg_{number}.jpg")
    for number in range(1, 11):
        Image.fromarray(smooth(rng, 80)).save(tmp_path / f"fg_bg/fg_bg_{number}.jpg")
        Image.fromarray(np.eye(80, dtype=np.uint8) * 255).save(tmp_path / f"fg_bg_mask/fg_bg_mask_{number}.jpg")
        Image.fromarray(np.full((80, 80), number * 16, np.uint8)).save(tmp_path / f"depthmap/depth_{number}.jpg")
    return tmp_path


def test_folder_rule_and_polarity(source_folder):
    pairs = dataset.FolderDataset(source_folder, size=40, per_background=4)
    assert len(pairs) == 10
    assert pairs.background_of[4] == 1 and pairs.background_of[5] == 2 and pairs.background_of[10] == 3
    sample = pairs[9]
    assert sample["image"].shape == (3, 40, 40) and sample["mask"].shape == (1, 40, 40)
    assert sample["depth"].mean().item() == pytest.approx(1 - 160 / 255, abs=0.01)
    as_stored = dataset.FolderDataset(source_folder, size=40, per_background=4, near_is_dark=False)[9]["depth"]
    assert as_stored.mean().item() == pytest.approx(160 / 255, abs=0.01)
    assert "inverted" in pairs.polarity


def test_the_sources_own_rule_is_4000():
    assert dataset.SOURCE_PER_BACKGROUND == 4000  # 100 cut-outs x 20 positions x 2


def test_folder_split_never_parts_a_background(source_folder):
    pairs = dataset.FolderDataset(source_folder, size=40, per_background=4)
    train, held = pairs.split(0.3)
    sides = [{pairs.background_of[pairs.items[i][0]] for i in part.indices} for part in (train, held)]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert len(train) + len(held) == len(pairs)


@pytest.mark.parametrize("name", ["fg_bg_mask/fg_bg_mask_7.jpg", "depthmap/depth_3.jpg", "bg/bg_2.jpg"])
def test_a_missing_partner_is_named(source_folder, name):
    (source_folder / name).unlink()
    with pytest.raises(InputError, match=name.split("/")[0] + r".*number \d"):
        dataset.FolderDataset(source_folder, per_background=4)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="fg_bg"):
        dataset.FolderDataset(tmp_path)


def test_a_damaged_file_is_named_not_returned_grey(source_folder):
    path = source_folder / "fg_bg/fg_bg_2.jpg"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"fg_bg_2\.jpg"):
        dataset.FolderDataset(source_folder, per_background=4)[1]
