import json

import numpy as np
import pytest
import torch
from conftest import write_catalogue
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


def test_a_hundred_by_a_hundred_is_the_sources_400_000(tiny):
    import dataclasses

    hundred = dataclasses.replace(tiny, scenes=(tiny.scenes * 100)[:100], cutouts=(tiny.cutouts * 100)[:100])
    assert len(dataset.CompositeDataset(hundred, None, None, positions=20)) == 400_000


def test_contact_shadow_is_under_grounded_objects_only(tiny):
    plain, shaded = (dataset.CompositeDataset(tiny, size=64, placement="grounded", contact_shadow=c) for c in (0.0, 0.8))
    darker = [plain.composite(i)["image"].mean() - shaded.composite(i)["image"].mean() for i in range(0, 200, 10)]
    assert min(darker) >= 0 and max(darker) > 0.1
    apart, same = (dataset.CompositeDataset(tiny, size=64, placement="random", contact_shadow=c) for c in (0.0, 0.8))
    assert np.array_equal(apart.composite(5)["image"], same.composite(5)["image"])


def test_a_scene_without_walkable_ground_is_named(tmp_path):
    folder = write_catalogue(tmp_path)
    for path in folder.glob("s*_ground.png"):
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    pairs = dataset.CompositeDataset(assets.load_catalogue(folder), placement="grounded")
    with pytest.warns(UserWarning, match="s0 has no walkable ground"):
        assert pairs[0]["mask"].max() > 0.5


@pytest.fixture
def with_pairs(tmp_path):
    folder = write_catalogue(tmp_path)
    data = json.loads((folder / "catalogue.json").read_text())
    mask = np.zeros((96, 96), np.uint8)
    mask[50:70, 40:60] = 255
    Image.fromarray(mask).save(folder / "p_mask.png")
    Image.fromarray(255 - np.asarray(Image.open(folder / "s2.png"))).save(folder / "p.png")
    data["pairs"] = [
        {
            "id": "p",
            "scene": "s2",
            "object": 2,
            "split": "test",
            "image": "p.png",
            "mask": "p_mask.png",
            "depth": "s2_depth.png",
            "hidden": 0.2,
        }
    ]
    (folder / "catalogue.json").write_text(json.dumps(data))
    return folder


def test_variety_lets_some_backgrounds_sway(tiny, monkeypatch):
    calm, windy = (dataset.CompositeDataset(tiny, size=48, variety=1.0) for _ in range(2))
    monkeypatch.setattr(dataset, "SWAYING", 0.0)
    still = [calm[index] for index in range(24)]
    monkeypatch.setattr(dataset, "SWAYING", 1.0)
    moved = [windy[index] for index in range(24)]
    assert all(torch.equal(a[name], b[name]) for a, b in zip(still, moved, strict=True) for name in ("image", "mask", "depth"))
    assert sum(not torch.equal(a["background"], b["background"]) for a, b in zip(still, moved, strict=True)) > 20


def test_true_pairs_hold_the_contract(with_pairs):
    catalogue = assets.load_catalogue(with_pairs)
    assert catalogue.pairs[0].info == {"hidden": 0.2} and catalogue.pairs[0].object == "2"
    sample = dataset.PairDataset(catalogue, size=48)[0]
    assert sample["image"].shape == (3, 48, 48) and sample["depth"].shape == (1, 48, 48)
    assert sample["mask"].mean().item() == pytest.approx(20 * 20 / 96**2, rel=0.02)
    assert (sample["image"] + sample["background"] - 1).abs().max() < 0.02


def test_a_pair_without_its_view_or_of_another_size_is_named(with_pairs):
    Image.fromarray(np.zeros((90, 96), np.uint8)).save(with_pairs / "p_mask.png")
    with pytest.raises(InputError, match="mask is 96x90"):
        dataset.PairDataset(assets.load_catalogue(with_pairs))[0]
    data = json.loads((with_pairs / "catalogue.json").read_text())
    data["pairs"][0]["scene"] = "s99"
    (with_pairs / "catalogue.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="s99"):
        dataset.PairDataset(assets.load_catalogue(with_pairs))[0]


def read_first(folder):
    catalogue = assets.load_catalogue(folder)
    return assets.read_pair(catalogue, catalogue.pairs[0])


def test_a_pair_may_be_stored_as_the_part_that_changed(with_pairs):
    whole = read_first(with_pairs)
    data, names = json.loads((with_pairs / "catalogue.json").read_text()), ("p.png", "p_mask.png", "s2_depth.png")
    for name in names:
        Image.fromarray(np.asarray(Image.open(with_pairs / name))[45:80, 30:70]).save(with_pairs / f"part_{name}")
    data["pairs"][0] |= dict(zip(("image", "mask", "depth"), (f"part_{name}" for name in names), strict=True)) | {"top": 45, "left": 30}
    (with_pairs / "catalogue.json").write_text(json.dumps(data))
    part = read_first(with_pairs)
    assert all(np.array_equal(part[name], whole[name]) for name in ("background", "mask", "depth"))
    assert np.array_equal(part["image"][45:80, 30:70], whole["image"][45:80, 30:70])
    assert np.array_equal(part["image"][:45], whole["background"][:45])
    data["pairs"][0]["left"] = 60
    (with_pairs / "catalogue.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="inside it at row 45, column 60"):
        read_first(with_pairs)


def test_true_pairs_take_the_place_of_composites(with_pairs):
    catalogue = assets.load_catalogue(with_pairs)
    truth = assets.read_pair(catalogue, catalogue.pairs[0])
    pairs = dataset.CompositeDataset(catalogue, "test", "test", size=96, true_pairs=1.0)
    for index in (0, 7, 30):
        assert all(np.array_equal(pairs.composite(index)[name], truth[name]) for name in truth)
    some = dataset.CompositeDataset(catalogue, "test", "test", size=96, true_pairs=0.3)
    share = np.mean([np.array_equal(some.composite(index)["image"], truth["image"]) for index in range(80)])
    assert 0.1 < share < 0.5


def test_a_true_pair_is_the_same_every_time(with_pairs):
    """The pair is kept in memory; what the capture differences make of it must not stay there."""
    pairs = dataset.CompositeDataset(assets.load_catalogue(with_pairs), "test", "test", size=48, true_pairs=1.0, strength=2.0)
    first, again = pairs[0], pairs[0]
    assert all(torch.equal(first[name], again[name]) for name in dataset.MAPS)


def test_the_object_of_a_true_pair_is_recoloured_and_nothing_else(with_pairs):
    catalogue = assets.load_catalogue(with_pairs)
    truth = assets.read_pair(catalogue, catalogue.pairs[0])
    pairs = dataset.CompositeDataset(catalogue, "test", "test", size=96, true_pairs=1.0, variety=1.0)
    samples = [sample for sample in map(pairs.composite, range(40)) if np.array_equal(sample["mask"], truth["mask"])]  # no second object
    outside = truth["mask"] == 0
    assert all(np.array_equal(sample["image"][outside], truth["image"][outside]) for sample in samples)
    recoloured = [not np.array_equal(sample["image"], truth["image"]) for sample in samples]
    assert any(recoloured) and not all(recoloured)


def test_true_pairs_keep_to_the_split(with_pairs, tiny):
    catalogue = assets.load_catalogue(with_pairs)
    for split in (("train", "train"), ("train", "test"), ("test", "train")):
        ours, plain = (dataset.CompositeDataset(catalogue, *split, size=48, true_pairs=share) for share in (1.0, 0.0))
        assert not ours.pairs and all(torch.equal(ours[3][name], plain[3][name]) for name in dataset.MAPS)
    with pytest.raises(InputError, match="no true pairs of split 'train'"):
        dataset.PairDataset(catalogue, "train")


def test_no_pairs_is_an_error(tiny):
    with pytest.raises(InputError, match="no true pairs"):
        dataset.PairDataset(tiny)
