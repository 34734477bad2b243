"""The web page docs/demo in a real browser: `python tests/browser_demo.py` (`make test-browser`).

Gives it pairs of photos, compares its masks with Python's, counts requests to other hosts, uses it
with the keyboard, the camera, offline, on a phone's width, and with everything that can be wrong.
Screenshots and results go to `runs/browser`. Needs Playwright, a system Chromium and npm; without
them it says so and exits with status 0.
"""

from __future__ import annotations

import functools
import http.server
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from browser import FLAGS, chromium
from PIL import Image

from eva_helpers.catalogue import load_catalogue
from eva_helpers.data import CompositeDataset, fixed_sample
from eva_helpers.export import MasksAndDepths
from eva_helpers.files import make_folder, write_json
from eva_helpers.images import resize
from eva_helpers.model import load_weights
from eva_helpers.paths import ROOT, WEIGHTS

PAGE = ROOT / "docs" / "demo"
OUT = ROOT / "runs" / "browser"
SAME = 0.01  # mean difference of the page's mask from Python's
FIRST_S = 10.0  # first result after the page is opened
LATER_S = 1.0  # later ones
PHONE = {"width": 360, "height": 740}
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def serve() -> tuple[http.server.ThreadingHTTPServer, str]:
    """The page on a free port."""
    handler = functools.partial(Quiet, directory=str(PAGE))
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://localhost:{server.server_port}/"


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Files of test pairs: of the network's own size, and four times as large."""
    data = CompositeDataset(load_catalogue(), "test", "test", size=224, strength=1.0)
    files = []
    for number, sample in enumerate(fixed_sample(data, 4, 3)):
        paths = []
        for name in ("background", "image"):
            photo = np.rint(255 * sample[name].numpy().transpose(1, 2, 0)).astype(np.uint8)[28:196]
            if number % 2:
                photo = cv2.resize(photo, (896, 672), interpolation=cv2.INTER_CUBIC)
            paths.append(folder / f"{name}_{number}.png")
            Image.fromarray(photo).save(paths[-1])
        files.append((paths[0], paths[1]))
    return files


def expected(files: tuple[Path, Path]) -> np.ndarray:
    """Python's mask, (168, 224)."""
    photos = [resize(np.asarray(Image.open(path)), (168, 224)) for path in files]
    tensors = [torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255 for photo in photos]
    with torch.inference_mode():
        return MasksAndDepths(load_weights(WEIGHTS))(*tensors)[0][0, 0].numpy()


def give(page, files: tuple[Path, Path]) -> float:
    """Choose both files; seconds until the result."""
    inputs = page.locator(".drop input")
    again = page.locator(".drop.filled").count() == 2  # then the first file, too, has a result
    waiting = "document.querySelector('#status').textContent = 'waiting'"
    page.evaluate(waiting)
    inputs.nth(0).set_input_files(files[0])
    page.wait_for_function("document.querySelector('.drop').classList.contains('filled')")
    if again:
        status(page, "Done")
    start = time.perf_counter()
    page.evaluate(waiting)
    inputs.nth(1).set_input_files(files[1])
    status(page, "Done")
    return time.perf_counter() - start


def mask(page) -> np.ndarray:
    """The mask that the page shows, (H, W) in [0, 1]."""
    script = """() => {
      const canvas = document.querySelector('#mask');
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      return [canvas.height, canvas.width, Array.from(data.filter((_, i) => i % 4 === 0))];
    }"""
    height, width, values = page.evaluate(script)
    return np.reshape(values, (height, width)) / 255


def status(page, text: str) -> str:
    """Wait until the page says `text`; the whole sentence."""
    page.wait_for_function(
        "text => document.querySelector('#status').textContent.includes(text)", arg=text
    )
    return page.locator("#status").inner_text()


def results(page, address: str, folder: Path, record: dict) -> None:
    """Masks, times, requests and pictures."""
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    files = pairs(folder)
    start = time.perf_counter()
    page.goto(address)
    status(page, "Ready")
    record["seconds"] = [give(page, files[0])]
    record["first result, s"] = time.perf_counter() - start
    record["differences"] = [float(np.abs(mask(page) - expected(files[0])).mean())]
    page.screenshot(path=OUT / "demo.png", full_page=True)
    for each in files[1:]:
        record["seconds"].append(give(page, each))
        record["differences"].append(float(np.abs(mask(page) - expected(each)).mean()))
        assert page.locator("#warning").is_hidden(), "a good pair is not warned of"
    assert max(record["differences"]) <= SAME, record
    assert record["first result, s"] <= FIRST_S and max(record["seconds"]) <= LATER_S, record
    assert hosts == {address.split("/")[2]}, hosts
    with page.expect_download() as download:
        page.click("#download")
    cutout = Image.open(download.value.path())
    assert cutout.mode == "RGBA" and cutout.size == Image.open(files[-1][1]).size
    assert np.asarray(cutout)[..., 3].any()
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.screenshot(path=OUT / "demo_phone.png", full_page=True)


def keyboard(page, record: dict) -> None:
    """Files are chosen, and sliders moved, without a mouse."""
    page.bring_to_front()
    with page.expect_file_chooser():
        page.locator(".drop input").first.press(" ")
    before = page.evaluate("document.querySelector('#cutout').toDataURL()")
    page.focus("#threshold")
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    after = page.evaluate("document.querySelector('#cutout').toDataURL()")
    assert before != after and page.locator("#threshold-value").inner_text() == "0.80"
    page.focus("#blur")
    page.keyboard.press("End")
    assert page.locator("#blur-value").inner_text() == "20"
    assert page.evaluate("document.querySelector('#cutout').toDataURL()") != after
    page.set_viewport_size({"width": 1000, "height": 900})
    page.screenshot(path=OUT / "demo_blur.png", full_page=True)
    record["keyboard"] = "yes"


def answer(body: str) -> Callable:
    """A route that answers with `body`."""
    return lambda route: route.fulfill(body=body)


def mistakes(page, address: str, folder: Path, record: dict) -> None:
    """Everything that can be wrong is said in a sentence."""
    files = pairs(folder)
    noise = np.random.default_rng(1).integers(0, 255, (7, 9, 3), np.uint8)
    other = folder / "other.png"
    Image.fromarray(cv2.resize(noise, (224, 168), interpolation=cv2.INTER_CUBIC)).save(other)
    give(page, (other, files[0][1]))
    record["another place"] = page.locator("#warning").inner_text()
    assert "little in common" in record["another place"]
    page.screenshot(path=OUT / "demo_warning.png", full_page=True)
    first = page.locator(".drop input").nth(0)
    for name, picture, text in (
        ("wide.png", Image.new("RGB", (300, 100)), "same frame"),
        ("tiny.png", Image.new("RGB", (20, 20)), "at least 32 px"),
        ("text.png", None, "not a picture"),
    ):
        path = folder / name
        if picture:
            picture.save(path)
        else:
            path.write_text("no picture")
        first.set_input_files(path)
        record[name] = status(page, text)
    manifest = json.loads((PAGE / "runtime/manifest.json").read_text())
    for change, text in (
        ({"format": 99}, "has format 99"),
        ({"models": [manifest["models"][0] | {"bytes": 5}]}, "another version"),
    ):
        body = json.dumps(manifest | change)
        page.route("**/manifest.json", answer(body))
        page.goto(address)
        record[text] = status(page, text)
        page.unroute("**/manifest.json")
    page.route("**/*.wasm", lambda route: route.abort())
    page.goto(address)
    record["no WebAssembly"] = status(page, "WebAssembly")
    page.unroute("**/*.wasm")
    page.goto(address)
    status(page, "Ready")
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject('no'); }")
    page.click("#camera")
    record["no camera"] = status(page, "no camera")


def camera(page, address: str, record: dict) -> None:
    """Two shots of the browser's moving test picture."""
    page.goto(address)
    status(page, "Ready")
    page.click("#camera")
    page.wait_for_function("document.querySelector('video').videoWidth > 0")
    page.click("[data-shoot=background]")
    status(page, "step into the frame")
    page.click("[data-shoot=image]")
    status(page, "Done")
    page.screenshot(path=OUT / "demo_camera.png", full_page=True)
    page.click("#stop")
    record["camera"] = "yes"


def offline(context, address: str, folder: Path, record: dict) -> None:
    """What has been loaded works without a network."""
    page = context.new_page()
    page.goto(address)
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.reload()
    status(page, "Ready")
    context.set_offline(True)
    page.reload()
    status(page, "Ready")
    give(page, pairs(folder)[0])
    context.set_offline(False)
    record["offline"] = "yes"


def main() -> int:
    """Run everything; 0 if all is well, or if there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("skipped: Playwright is not installed (pip install -e '.[browser]')")
        return 0
    program = chromium()
    if not program:
        print("skipped: there is no Chromium (Debian: apt install chromium)")
        return 0
    if not (PAGE / "runtime/manifest.json").is_file():
        sys.path.insert(0, str(ROOT / "tools"))
        import demo

        if demo.main([]):
            print("skipped: the page could not be built")
            return 0
    folder = make_folder(OUT)
    record: dict = {}
    server, address = serve()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=[*FLAGS, *CAMERA])
        options = {"viewport": {"width": 1000, "height": 900}}
        # a service worker fetches by itself, past the routes of `mistakes`
        page = browser.new_context(service_workers="block", **options).new_page()
        page.on("pageerror", lambda error: record.setdefault("errors", []).append(str(error)))
        results(page, address, folder, record)
        keyboard(page, record)
        mistakes(page, address, folder, record)
        camera(page, address, record)
        offline(browser.new_context(**options), address, folder, record)
        browser.close()
    server.shutdown()
    assert "errors" not in record, record["errors"]
    write_json(folder / "demo.json", record)
    for key, value in record.items():
        print(f"{key}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
