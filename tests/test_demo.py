"""The web page docs/demo, without a browser: `make test-browser` drives it in one."""

import re

import demo
import pytest
from conftest import TINY

from eva_helpers.files import InputError, read_json
from eva_helpers.model import MaskDepthNet, save_weights

PAGES = {path.name: path.read_text(encoding="utf-8") for path in demo.PAGE.glob("*.*")}


def test_networks_and_colours_are_listed(tmp_path, monkeypatch):
    def export(net, path, size, half):
        path.write_bytes(bytes(size[0]))

    monkeypatch.setattr(demo, "export_onnx", export)  # takes a while
    weights = tmp_path / "tiny.safetensors"
    save_weights(MaskDepthNet(TINY), weights)
    demo.build(tmp_path, weights, ((48, 64), (64, 48)))
    manifest = read_json(tmp_path / "manifest.json")
    assert manifest["format"] == demo.FORMAT
    for model in manifest["models"]:
        assert (tmp_path / model["file"]).stat().st_size == model["bytes"]
    assert [model["width"] for model in manifest["models"]] == [64, 48]
    assert manifest["grey"][0] == 0 and manifest["grey"][-1] == 0xFFFFFF
    assert len(set(manifest["colours"])) > 200


def test_the_page_knows_the_format_and_the_names():
    script, page = PAGES["app.js"], PAGES["index.html"]
    assert f"const FORMAT = {demo.FORMAT};" in script
    for name in re.findall(r'"#([a-z-]+)', script):
        assert f'id="{name}"' in page, name
    for file in demo.RUNTIME[:1]:
        assert f"./runtime/{file}" in script


def test_the_page_names_no_other_host():
    for name, text in PAGES.items():
        assert not re.search(r"(https?:)?//[a-z]", re.sub(r"^\s*//.*", "", text, flags=re.M)), name


def test_without_npm_a_sentence_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(demo.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="npm is not installed"):
        demo.fetch_runtime(tmp_path)
