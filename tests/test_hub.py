"""Networks from and to a hub: a folder stands for it."""

import shutil

import huggingface_hub
import numpy as np
import pytest
from conftest import smooth

from eva_helpers.files import InputError
from eva_helpers.predict import Predictor
from eva_helpers.predict.hub import FILE


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder as the hub: what is pushed can be fetched."""
    store = tmp_path / "hub"

    def create_repo(name, private, exist_ok):
        (store / name).mkdir(parents=True, exist_ok=exist_ok)
        return f"hub/{name}"

    def upload_folder(repo_id, folder_path, allow_patterns):
        for pattern in allow_patterns:
            shutil.copy(folder_path / pattern, store / repo_id / pattern)

    def hf_hub_download(name, file, revision=None):
        path = store / name / file
        if not path.is_file():
            raise FileNotFoundError("no such repository\nand more lines")
        return str(path)

    for function in (create_repo, upload_folder, hf_hub_download):
        monkeypatch.setattr(huggingface_hub, function.__name__, function)
    return store


def same(one, other):
    photo = smooth(np.random.default_rng(0), 64)
    image = photo.copy()
    image[20:40, 20:40] = 0
    first, second = (predictor(photo, image) for predictor in (one, other))
    return np.array_equal(first.mask, second.mask) and np.array_equal(first.depth, second.depth)


def test_a_network_goes_to_the_hub_and_comes_back(hub, weights, tmp_path):
    predictor = Predictor.load(weights)
    assert predictor.push_to_hub("me/net", tmp_path / "mine") == "hub/me/net"
    assert same(predictor, Predictor.from_pretrained("me/net"))
    assert same(predictor, Predictor.from_pretrained(tmp_path / "mine"))
    card = (hub / "me/net/README.md").read_text()
    assert 'from_pretrained("me/net")' in card and card.startswith("---\n")


def test_a_card_of_ones_own_is_kept(hub, weights, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("mine")
    Predictor.load(weights).push_to_hub("me/net", tmp_path / "mine")
    assert (hub / "me/net/README.md").read_text() == "mine"


def test_what_is_not_there_is_said(hub, tmp_path):
    with pytest.raises(
        InputError, match=r"could not be fetched from the hub \(no such repository\)"
    ):
        Predictor.from_pretrained("nobody/nothing")
    with pytest.raises(InputError, match=FILE):
        Predictor.from_pretrained(tmp_path)


def test_a_hub_that_refuses_is_said(hub, weights, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("401 Unauthorized")

    monkeypatch.setattr(huggingface_hub, "create_repo", refuse)
    with pytest.raises(InputError, match=r"401 Unauthorized.*hf auth login"):
        Predictor.load(weights).push_to_hub("me/net", tmp_path / "mine")
