import dataclasses
import pickle

import numpy as np
import pytest
import torch
from conftest import write_catalogue
from PIL import Image

from eva_helpers.catalogue import load_catalogue, read_pair
from eva_helpers.data import dataset
from eva_helpers.data.dataset import MAPS, CompositeDataset, PairDataset, quadrant
from eva_helpers.data.loaders import channel_statistics, fixed_sample, make_loader, set_epoch
from eva_helpers.files import InputError, read_json, write_json


def test_length_and_order_are_those_of_the_original_project(tiny):
    pairs = CompositeDataset(tiny, "train", "train", positions=20)
    assert len(pairs) == 3 * 3 * 20 * 2
    assert pairs.where(0) == (0, 0, 0, False) and pairs.where(1) == (0, 0, 0, True)
    assert pairs.where(40) == (0, 1, 0, False) and pairs.where(120) == (1, 0, 0, False)
    with pytest.raises(IndexError):
        pairs.where(len(pairs))


@pytest.mark.parametrize("placement", dataset.PLACEMENTS)
@pytest.mark.parametrize("augment", [False, True])
def test_the_data_contract(tiny, placement, augment):
    pairs = CompositeDataset(tiny, size=48, placement=placement, augment=augment, strength=1.0)
    for index in range(0, len(pairs), 71):
        sample = pairs[index]
        assert tuple(sample) == MAPS
        for name, value in sample.items():
            channels = 3 if name in ("background", "image") else 1
            assert value.dtype == torch.float32 and value.shape == (channels, 48, 48)
            assert value.min() >= 0 and value.max() <= 1


def test_outside_the_mask_nothing_changes_without_capture_differences(tiny):
    pairs = CompositeDataset(tiny, size=64)
    for index in range(0, len(pairs), 53):
        sample = pairs[index]
        outside = (sample["mask"] == 0).expand(3, -1, -1)
        assert torch.equal(sample["image"][outside], sample["background"][outside])
        assert sample["mask"].max() > 0.5


def test_items_depend_on_index_and_seed_only(tiny):
    options = {"size": 48, "augment": True, "strength": 1.0, "empty": 0.2}
    one, two = (CompositeDataset(tiny, **options, seed=3) for _ in range(2))
    forward = [one[i] for i in range(0, 300, 50)]
    backward = [two[i] for i in reversed(range(0, 300, 50))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in MAPS)
    other = CompositeDataset(tiny, **options, seed=4)
    assert not torch.equal(one[50]["image"], other[50]["image"])


def test_workers_do_not_change_the_numbers(tiny):
    pairs = CompositeDataset(tiny, size=48, augment=True, strength=1.0)
    loaders = [make_loader(pairs, 8, samples=32, workers=count, seed=1) for count in (0, 2)]
    batches = [list(loader) for loader in loaders]
    for a, b in zip(*batches, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in MAPS)


def test_a_used_dataset_can_be_sent_to_another_process(tiny):
    pairs = CompositeDataset(tiny, size=48, augment=True, strength=1.0, variety=1.0)
    sample = pairs[7]
    again = pickle.loads(pickle.dumps(pairs))[7]
    assert all(torch.equal(sample[name], again[name]) for name in MAPS)


def test_the_capture_differences_can_be_replaced(tiny, with_pairs):
    calls = []

    def capture(background, image, mask, rng):
        calls.append((background.shape, image.dtype, mask.shape, type(rng)))
        return 255 - background, image

    composites = CompositeDataset(tiny, size=48)
    pairs = PairDataset(load_catalogue(with_pairs), size=48)
    for samples in (composites, pairs):
        plain = samples[0]
        samples.capture = capture
        changed = samples[0]
        assert torch.allclose(plain["background"] + changed["background"], torch.tensor(1.0))
        assert all(torch.equal(plain[name], changed[name]) for name in MAPS[1:])
    assert calls == 2 * [((48, 48, 3), np.uint8, (48, 48), np.random.Generator)]


def test_a_fixed_sample_is_drawn_once_without_replacement(tiny):
    pairs = CompositeDataset(tiny, size=48)
    drawn = fixed_sample(pairs, 50, seed=3).indices
    assert len(set(drawn)) == 50 and list(drawn) == list(fixed_sample(pairs, 50, seed=3).indices)
    assert list(drawn) != list(fixed_sample(pairs, 50, seed=4).indices)
    assert len(fixed_sample(pairs, 10**6)) == len(pairs)


def test_epochs_draw_new_items(tiny):
    loader = make_loader(CompositeDataset(tiny, size=48), 16, samples=32, seed=1)
    first, second = (torch.cat([batch["image"] for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)


def test_empty_samples_have_no_object(tiny):
    pairs = CompositeDataset(tiny, size=48, empty=1.0)
    for index in range(5):
        assert pairs[index]["mask"].max() == 0
        assert torch.equal(pairs[index]["image"], pairs[index]["background"])


def test_grounded_objects_stand_on_the_floor(tiny):
    pairs = CompositeDataset(tiny, size=96, placement="grounded")
    for index in range(0, len(pairs), 37):
        sample = pairs.composite(index)
        rows = np.flatnonzero(sample["mask"].max(1) > 0.5)
        if len(rows):
            assert rows[-1] >= 96 * 0.55, "feet are on the walkable part"


def test_quadrants_do_not_leak(tiny):
    seen = quadrant(tiny, "seen background, seen object")
    unseen = quadrant(tiny, "unseen background, unseen object")
    assert not {s.scene for s in seen.scenes} & {s.scene for s in unseen.scenes}
    assert not {o.object for o in seen.objects} & {o.object for o in unseen.objects}


def test_a_cutout_without_metric_size_falls_back_to_anywhere(tmp_path):
    folder = write_catalogue(tmp_path / "c")
    data = read_json(folder / "catalogue.json")
    for cutout in data["cutouts"]:
        del cutout["metres_per_pixel"], cutout["contact"]
    write_json(folder / "catalogue.json", data)
    sample = CompositeDataset(load_catalogue(folder), placement="grounded")[7]
    assert sample["mask"].max() > 0.5


def test_bad_settings_are_refused(tiny):
    with pytest.raises(ValueError, match="placement"):
        CompositeDataset(tiny, placement="sky")
    with pytest.raises(ValueError, match="size"):
        CompositeDataset(tiny, size=8)


def test_statistics_match_numpy(tiny):
    pairs = CompositeDataset(tiny, size=48)
    items = [pairs[i] for i in range(20)]
    mean, std = channel_statistics(items)["image"]
    stacked = torch.stack([item["image"] for item in items]).double().numpy()
    assert np.allclose(mean, stacked.mean((0, 2, 3)))
    assert np.allclose(std, stacked.std((0, 2, 3)))


def test_a_hundred_by_a_hundred_gives_400_000_composites(tiny):
    scenes, cutouts = ((group * 100)[:100] for group in (tiny.scenes, tiny.cutouts))
    hundred = dataclasses.replace(tiny, scenes=scenes, cutouts=cutouts)
    assert len(CompositeDataset(hundred, None, None, positions=20)) == 400_000


def test_a_scene_without_walkable_ground_is_named(tmp_path):
    folder = write_catalogue(tmp_path)
    for path in folder.glob("s*_ground.png"):
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    pairs = CompositeDataset(load_catalogue(folder), placement="grounded")
    with pytest.warns(UserWarning, match="s0 has no walkable ground"):
        assert pairs[0]["mask"].max() > 0.5


@pytest.fixture
def with_pairs(tmp_path):
    folder = write_catalogue(tmp_path)
    data = read_json(folder / "catalogue.json")
    mask = np.zeros((96, 96), np.uint8)
    mask[50:70, 40:60] = 255
    Image.fromarray(mask).save(folder / "p_mask.png")
    Image.fromarray(255 - np.asarray(Image.open(folder / "s2.png"))).save(folder / "p.png")
    files = {"image": "p.png", "mask": "p_mask.png", "depth": "s2_depth.png"}
    entry = {"id": "p", "scene": "s2", "object": 2, "split": "test", "hidden": 0.2}
    data["pairs"] = [entry | files]
    write_json(folder / "catalogue.json", data)
    return folder


def test_variety_lets_some_backgrounds_sway(tiny, monkeypatch):
    calm, windy = (CompositeDataset(tiny, size=48, variety=1.0) for _ in range(2))
    monkeypatch.setattr(dataset, "UNSHARP", 0.0)
    monkeypatch.setattr(dataset, "SWAYING", 0.0)
    still = [calm[index] for index in range(24)]
    monkeypatch.setattr(dataset, "SWAYING", 1.0)
    moved = [windy[index] for index in range(24)]
    items = list(zip(still, moved, strict=True))
    assert all(torch.equal(a[name], b[name]) for a, b in items for name in MAPS[1:])
    assert sum(not torch.equal(a["background"], b["background"]) for a, b in items) > 20


def test_some_photos_show_no_detail_of_their_pixels(tiny, monkeypatch):
    sharp, soft = (CompositeDataset(tiny, size=48, variety=1.0, strength=0.5) for _ in range(2))
    monkeypatch.setattr(dataset, "UNSHARP", 0.0)
    before = [sharp[index] for index in range(24)]
    monkeypatch.setattr(dataset, "UNSHARP", 1.0)
    after = [soft[index] for index in range(24)]
    for name in ("image", "mask"):
        details = [
            torch.stack([sample[name].diff().abs().amax() for sample in samples]).mean()
            for samples in (before, after)
        ]
        assert details[1] < 0.85 * details[0], name


def test_true_pairs_hold_the_contract(with_pairs):
    catalogue = load_catalogue(with_pairs)
    assert catalogue.pairs[0].info == {"hidden": 0.2} and catalogue.pairs[0].object == "2"
    sample = PairDataset(catalogue, size=48)[0]
    assert sample["image"].shape == (3, 48, 48) and sample["depth"].shape == (1, 48, 48)
    assert sample["mask"].mean().item() == pytest.approx(20 * 20 / 96**2, rel=0.02)
    assert (sample["image"] + sample["background"] - 1).abs().max() < 0.02


def test_a_pair_without_its_view_or_of_another_size_is_named(with_pairs):
    Image.fromarray(np.zeros((90, 96), np.uint8)).save(with_pairs / "p_mask.png")
    with pytest.raises(InputError, match="mask is 96x90"):
        PairDataset(load_catalogue(with_pairs))[0]
    data = read_json(with_pairs / "catalogue.json")
    data["pairs"][0]["scene"] = "s99"
    write_json(with_pairs / "catalogue.json", data)
    with pytest.raises(InputError, match="s99"):
        PairDataset(load_catalogue(with_pairs))[0]


def read_first(folder):
    catalogue = load_catalogue(folder)
    return read_pair(catalogue, catalogue.pairs[0])


def test_a_pair_may_be_stored_as_the_part_that_changed(with_pairs):
    whole = read_first(with_pairs)
    data = read_json(with_pairs / "catalogue.json")
    entry = data["pairs"][0]
    for name in ("image", "mask", "depth"):
        file = entry[name]
        part = np.asarray(Image.open(with_pairs / file))[45:80, 30:70]
        Image.fromarray(part).save(with_pairs / f"part_{file}")
        entry[name] = f"part_{file}"
    entry |= {"top": 45, "left": 30}
    write_json(with_pairs / "catalogue.json", data)
    part = read_first(with_pairs)
    assert all(np.array_equal(part[name], whole[name]) for name in ("background", "mask", "depth"))
    assert np.array_equal(part["image"][45:80, 30:70], whole["image"][45:80, 30:70])
    assert np.array_equal(part["image"][:45], whole["background"][:45])
    entry["left"] = 60
    write_json(with_pairs / "catalogue.json", data)
    with pytest.raises(InputError, match="inside it at row 45, column 60"):
        read_first(with_pairs)


def test_true_pairs_take_the_place_of_composites(with_pairs):
    catalogue = load_catalogue(with_pairs)
    truth = read_pair(catalogue, catalogue.pairs[0])
    pairs = CompositeDataset(catalogue, "test", "test", size=96, true_pairs=1.0)
    for index in (0, 7, 30):
        assert all(np.array_equal(pairs.composite(index)[name], truth[name]) for name in truth)
    some = CompositeDataset(catalogue, "test", "test", size=96, true_pairs=0.3)
    samples = [some.composite(index) for index in range(80)]
    share = np.mean([np.array_equal(sample["image"], truth["image"]) for sample in samples])
    assert 0.1 < share < 0.5


def test_a_true_pair_is_the_same_every_time(with_pairs):
    """The pair is kept in memory; what the capture differences make of it must not stay there."""
    pairs = CompositeDataset(
        load_catalogue(with_pairs), "test", "test", size=48, true_pairs=1.0, strength=2.0
    )
    first = pairs[0]
    again = pairs[0]
    assert all(torch.equal(first[name], again[name]) for name in MAPS)


def test_the_object_of_a_true_pair_is_recoloured_and_nothing_else(with_pairs):
    catalogue = load_catalogue(with_pairs)
    truth = read_pair(catalogue, catalogue.pairs[0])
    pairs = CompositeDataset(catalogue, "test", "test", size=96, true_pairs=1.0, variety=1.0)
    samples = [pairs.composite(index) for index in range(40)]
    with_one = [s for s in samples if np.array_equal(s["mask"], truth["mask"])]
    images = [sample["image"] for sample in with_one]
    outside = truth["mask"] == 0
    assert all(np.array_equal(image[outside], truth["image"][outside]) for image in images)
    recoloured = [not np.array_equal(image, truth["image"]) for image in images]
    assert any(recoloured) and not all(recoloured)


def test_true_pairs_keep_to_the_split(with_pairs, tiny):
    catalogue = load_catalogue(with_pairs)
    for split in (("train", "train"), ("train", "test"), ("test", "train")):
        ours, plain = (
            CompositeDataset(catalogue, *split, size=48, true_pairs=share) for share in (1.0, 0.0)
        )
        assert not ours.pairs
        assert all(torch.equal(ours[3][name], plain[3][name]) for name in MAPS)
    with pytest.raises(InputError, match="no true pairs of split 'train'"):
        PairDataset(catalogue, "train")


def test_no_pairs_is_an_error(tiny):
    with pytest.raises(InputError, match="no true pairs"):
        PairDataset(tiny)


def test_plain_composites(tiny):
    """Smooth objects before walls, which have no depth label, or before backgrounds."""
    pairs = CompositeDataset(tiny, size=64, plain=1.0)
    samples = [pairs[number] for number in range(40)]
    again = CompositeDataset(tiny, size=64, plain=1.0)[7]
    assert all(torch.equal(samples[7][name], again[name]) for name in MAPS)
    labelled = [bool(sample["depth"].any()) for sample in samples]
    assert 8 < sum(labelled) < 25
    for sample, has_label in zip(samples, labelled, strict=True):
        change = (sample["image"] - sample["background"]).abs().amax(0)
        inside = sample["mask"][0] > 0.9
        assert inside.any() and change[sample["mask"][0] == 0].max() == 0
        assert change[inside].median() > 0.03
        walls = sample["background"].diff(dim=2).abs().mean()
        assert has_label or walls < 0.02


def test_plain_composites_may_be_empty(tiny):
    pairs = CompositeDataset(tiny, size=32, plain=1.0, empty=1.0)
    assert not any(pairs[number]["mask"].any() for number in range(5))


@pytest.mark.filterwarnings("ignore:.*no depth labels")
def test_a_scene_without_depth_has_none_with_objects_either(tmp_path):
    folder = write_catalogue(tmp_path / "catalogue")
    listing = read_json(folder / "catalogue.json")
    listing["scenes"][0]["depth"] = None
    write_json(folder / "catalogue.json", listing)
    pairs = CompositeDataset(load_catalogue(folder), size=48, variety=1.0, positions=3)
    for index in range(0, len(pairs), 5):
        sample = pairs[index]
        assert sample["depth"].any() == (pairs.where(index)[0] > 0)
        assert sample["mask"].max() > 0.5


def test_the_order_follows_from_seed_and_epoch(tiny):
    pairs = CompositeDataset(tiny, size=32, positions=1)
    loaders = [make_loader(pairs, 4, samples=8, seed=seed) for seed in (1, 1, 2)]
    first, same, other = ([list(loader.sampler) for _ in range(3)] for loader in loaders)
    assert first == same != other and len({tuple(order) for order in first}) == 3
    set_epoch(loaders[1], 1)
    assert list(loaders[1].sampler) == first[1]
    everything = make_loader(pairs, 4, shuffle=True)
    assert sorted(everything.sampler) == list(range(len(pairs)))


def test_boxes_show_the_object_enlarged_without_depth(park):
    options = {"size": 64, "augment": True, "strength": 1.0, "seed": 2}
    plain = CompositeDataset(park, **options)
    boxes = CompositeDataset(park, boxes=1.0, **options)
    shares = []
    for index in range(0, len(plain), len(plain) // 20):
        whole, part = plain[index], boxes[index]
        assert part["image"].shape == whole["image"].shape and not part["depth"].any()
        shares.append((float(whole["mask"].mean()), float(part["mask"].mean())))
    before, after = np.transpose(shares)
    assert (after >= before - 0.02).all() and after.mean() > 1.5 * before.mean()
    assert after.mean() < 0.8, "some surroundings remain"


def test_boxes_of_empty_scenes_are_anywhere(park):
    boxes = CompositeDataset(park, size=64, boxes=1.0, empty=1.0)
    assert all(not boxes[index]["mask"].any() for index in range(10))


def test_the_real_height_of_an_object_can_be_drawn(tiny):
    def nearness(**options):
        data = CompositeDataset(tiny, size=64, placement="grounded", **options)
        samples = [data[2 * number] for number in range(40)]
        return [(s["mask"][0].sum().sqrt() / s["depth"][s["mask"] > 0.9].median()) for s in samples]

    known, drawn = (np.array(nearness(**each)) for each in ({}, {"resized": 1.0}))
    spread = [np.nanstd(np.log(values)) for values in (known, drawn)]
    assert spread[1] > 2 * spread[0], "size no longer tells the distance"
    same = CompositeDataset(tiny, size=64), CompositeDataset(tiny, size=64, resized=0.0)
    assert all(torch.equal(same[0][5][name], same[1][5][name]) for name in MAPS)


def test_an_object_of_drawn_height_in_the_air_is_as_far_as_what_it_covers(tiny):
    composites = CompositeDataset(tiny, size=64, placement="random", resized=1.0)
    nearer = []
    for index in range(0, len(composites), 7):
        maps = composites.composite(index)
        scene, _, _, _ = composites.where(index)
        inside = maps["mask"] > 0.9
        if inside.any():
            covered = composites.scene(scene).depth[inside].max()
            nearer.append(np.median(maps["depth"][inside]) - covered)
    assert len(nearer) > 20 and np.quantile(nearer, 0.9) < 0.1
