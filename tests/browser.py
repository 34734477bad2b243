"""The panels in a real browser: `python tests/browser.py` (`make test-browser`).

Starts JupyterLab on a copy of notebook 06, with the playground of notebook 05 below it, runs all
cells, moves sliders with mouse and keyboard, presses the buttons, and checks that the training and
the pictures follow. Measures how long a picture takes to follow its slider. Screenshots and results
go to `runs/browser`. Needs Playwright and a system Chromium (Debian's package `chromium`); without
them it says so and exits with status 0.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "06_loss_weight_tuning.ipynb"
FOLLOWS_MS = 150  # the picture must follow its slider within this
SLOWEST_MS = 250  # likewise, at most
MOVES = 30
SETTLED_MS = 500  # after scrolling: pictures that come into view are decoded then
TRIED = 8  # steps after which a weighting counts as tried, and some more
LIVE, PAIR, OVERLAY, PREVIEW, MAP, PLAYGROUND = range(6)  # pictures of the page, from above
LENGTH, ACROSS = 10, 12  # sliders of part two: length of training, mask IoU below the map
EXPOSURE = 13  # the first slider of the playground
PROGRESS, STATUS = range(2)  # lines of text of part one
FOLDERS = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Milliseconds from a key press on a slider until the new picture is drawn: a MutationObserver sees
# its source change, then comes a frame.
FOLLOW = """
([slider, picture]) => new Promise((resolve, reject) => {
  const image = document.querySelectorAll('img.widget-image')[picture];
  const handle = document.querySelectorAll('.widget-slider .noUi-handle')[slider];
  const start = performance.now();
  const late = setTimeout(() => reject(new Error('the picture did not follow')), 10000);
  const seen = new MutationObserver(() => {
    seen.disconnect();
    image.decode().catch(() => null).then(() => requestAnimationFrame(() => {
      clearTimeout(late);
      resolve(performance.now() - start);
    }));
  });
  seen.observe(image, {attributes: true, attributeFilter: ['src']});
  handle.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
})
"""


def chromium() -> str | None:
    """The system's Chromium, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def wait_for(condition: Callable, what: str, seconds: float = 60.0):
    """The first true value of `condition()`. Raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def copy(folder: Path) -> Path:
    """The notebook with short epochs, its own run folder, and a cell that stores the record."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    tagged = ["parameters" in cell.metadata.get("tags", ()) for cell in book.cells]
    values = {"SAMPLES_PER_EPOCH": 256, "VALIDATION_SAMPLES": 32, "RUN_DIR": str(folder / "run")}
    values["EPOCHS"] = 300  # it must not end before it is stopped
    code = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    book.cells.insert(tagged.index(True) + 1, nbformat.v4.new_code_cell(code))
    tell = (
        "import json\n"
        "rows = [[row['weight mask'], row['weight depth']] for row in tuner.record]\n"
        "(RUN / 'record.json').write_text(json.dumps({'state': tuner.state, 'rows': rows}))"
    )
    play = (
        "from eva_helpers.predict import Predictor\n"
        "pair = paths.ROOT / 'assets' / 'pair'\n"
        "photos = pair / 'background.jpg', pair / 'image.jpg'\n"
        "play = tuning.playground_panel(Predictor.load(paths.WEIGHTS), *photos)\n"
        "display(play.box)"
    )
    book.cells += [nbformat.v4.new_code_cell(code) for code in (play, tell)]
    path = folder / NOTEBOOK.name
    nbformat.write(book, path)
    return path


def serve(path: Path) -> tuple[subprocess.Popen, str]:
    """JupyterLab on the checkout, and the address of the notebook in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        f"--port={port}",
        "--no-browser",
        "--allow-root",
        f"--ServerApp.root_dir={ROOT}",
        "--IdentityProvider.token=",
        "--log-level=WARN",
    ]
    environment = os.environ | dict.fromkeys(FOLDERS, str(path.parent / "settings"))
    environment.pop("CI", None)  # with it, the notebook shows no widgets
    news = path.parent / "settings" / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    quiet = json.dumps({"fetchNews": "false", "checkForUpdates": False})
    (news / "notification.jupyterlab-settings").write_text(quiet, encoding="utf-8")
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (path.parent / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    base = f"http://127.0.0.1:{port}"

    def up() -> bool:
        try:
            return urllib.request.urlopen(f"{base}/api", timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False

    wait_for(up, "JupyterLab answers")
    return server, f"{base}/lab/tree/{path.relative_to(ROOT).as_posix()}"


class Session:
    """The notebook in a browser's page."""

    def __init__(self, page, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.shots = 0

    def shot(self, name: str) -> None:
        """A numbered screenshot."""
        self.shots += 1
        self.page.screenshot(path=str(self.folder / f"{self.shots}_{name}.png"))

    def menu(self, top: str, entry: str) -> None:
        """Choose from JupyterLab's menu bar."""
        self.page.get_by_role("menuitem", name=top, exact=True).click()
        self.page.get_by_role("menuitem", name=entry).first.click()

    def status(self, number: int) -> str:
        """What line `number` of the page says."""
        return self.page.locator(".widget-html-content").nth(number).inner_text()

    def says(self, number: int, text: str, seconds: float = 60.0) -> None:
        """Wait until line `number` says `text`."""
        wait_for(lambda: text in self.status(number), f"line {number} says {text!r}", seconds)

    def steps(self, count: int) -> None:
        """Wait until the training has done `count` steps more."""
        start = self.step()
        wait_for(lambda: self.step() >= start + count, f"{count} more steps", 120)

    def step(self) -> int:
        return int(re.search(r"step (\d+)", self.status(PROGRESS)).group(1))

    def press(self, text: str) -> None:
        self.page.get_by_role("button", name=text, exact=True).first.click()

    def handle(self, number: int):
        """The knob of slider `number` of the page."""
        knob = self.page.locator(".widget-slider .noUi-handle").nth(number)
        knob.scroll_into_view_if_needed()
        self.page.wait_for_timeout(SETTLED_MS)
        return knob

    def value(self, number: int) -> float:
        readout = self.page.locator(".widget-slider .widget-readout").nth(number)
        return float(readout.inner_text())

    def picture(self, number: int) -> str:
        return self.page.locator("img.widget-image").nth(number).get_attribute("src")

    def changes(self, number: int, before: str, what: str) -> None:
        """Wait until picture `number` is another than `before`; it is drawn at its own pace."""
        wait_for(lambda: self.picture(number) != before, what, 120)

    def choose(self, number: int, text: str) -> str:
        """Choose the first try with `text` in dropdown `number`; returns its whole name."""
        dropdown = self.page.locator(".widget-dropdown select").nth(number)
        names = [name.replace("\xa0", " ") for name in dropdown.locator("option").all_inner_texts()]
        found = next((number for number, name in enumerate(names) if text in name), None)
        assert found is not None, f"no try is called {text!r}: {names}"
        dropdown.select_option(index=found)
        return names[found]


def tune(session: Session) -> None:
    """Part one: start, move, presets, undo, pause, compare, resume, save, stop."""
    session.press("start / resume")
    session.says(PROGRESS, "running: step", 120)
    session.steps(TRIED)
    session.shot("running")
    move(session)
    session.steps(TRIED)
    before = session.picture(LIVE)
    mask, depth = session.value(0), session.value(1)
    session.press("depth off")
    wait_for(lambda: session.value(1) == 0, "the preset sets the slider of the depth")
    session.says(STATUS, "depth 0,")
    session.changes(LIVE, before, "the picture follows the preset")
    session.steps(TRIED)
    session.press("undo")
    wait_for(lambda: session.value(1) == depth, "undo sets the slider back")
    assert session.value(0) == mask
    session.changes(LIVE, session.picture(LIVE), "the training goes on")
    compare(session)
    load_again(session)
    session.press("save")
    session.says(STATUS, "tuned.safetensors")
    session.press("stop")
    session.says(PROGRESS, "stopped")
    session.shot("stopped")


def move(session: Session) -> None:
    """The mask's slider by keyboard, the depth's by mouse."""
    before = session.picture(LIVE)
    knob = session.handle(0)
    knob.focus()
    knob.press("ArrowRight")
    moved = session.value(0)
    assert math.isclose(moved, 0.35), f"the keyboard moved the slider to {moved}"
    session.changes(LIVE, before, "the live picture follows the keyboard")
    before = session.picture(LIVE)
    box = session.handle(1).bounding_box()
    x = box["x"] + box["width"] / 2
    y = box["y"] + box["height"] / 2
    session.page.mouse.move(x, y)
    session.page.mouse.down()
    session.page.mouse.move(x + 60, y, steps=6)
    session.page.mouse.up()
    moved = session.value(1)
    assert moved > 0.75, f"the mouse moved the slider to {moved}"
    session.changes(LIVE, before, "the live picture follows the mouse")
    session.shot("moved")


def compare(session: Session) -> None:
    """Pause; choose two tries; resume."""
    session.press("pause")
    session.says(PROGRESS, "paused: step")
    halted = session.picture(LIVE)
    pair = session.picture(PAIR)
    session.choose(0, "0.3 / 0.7")
    session.choose(1, "depth off")
    session.changes(PAIR, pair, "the two tries are drawn")
    session.page.locator("img.widget-image").nth(PAIR).scroll_into_view_if_needed()
    session.shot("compared")
    session.page.wait_for_timeout(10_000)
    assert session.picture(LIVE) == halted, "a paused training draws nothing new"
    session.press("start / resume")
    session.changes(LIVE, halted, "the training continues")


def load_again(session: Session) -> None:
    """The page is loaded again: `start` lets the panel follow the training that still runs."""
    session.menu("File", "Save Notebook")
    session.page.wait_for_timeout(3000)
    session.page.reload()
    session.page.locator(".widget-slider").first.wait_for(timeout=120_000)
    session.page.get_by_role("button", name="show now", exact=True).first.click()
    session.press("start / resume")
    session.steps(TRIED)
    session.shot("loaded_again")


def follow(session: Session) -> list[float]:
    """Part two: the picture follows the slider; milliseconds of each move."""
    session.handle(5)
    before = session.picture(PREVIEW)
    times = []
    for number in range(MOVES):
        times.append(session.page.evaluate(FOLLOW, [5 + number % 2, PREVIEW]))
        session.page.wait_for_timeout(200)
    assert session.picture(PREVIEW) != before
    session.shot("followed")
    shorter(session)
    drag_on_the_map(session)
    return times


def shorter(session: Session) -> None:
    """A shorter training, by keyboard."""
    before = session.picture(PREVIEW)
    knob = session.handle(LENGTH)
    knob.focus()
    knob.press("ArrowLeft")
    session.changes(PREVIEW, before, "the picture follows the length of training")
    session.shot("shorter")


def drag_on_the_map(session: Session) -> None:
    """The map's slider of the mask IoU, by mouse: the weights follow."""
    before = session.value(5)
    box = session.handle(ACROSS).bounding_box()
    x = box["x"] + box["width"] / 2
    y = box["y"] + box["height"] / 2
    session.page.mouse.move(x, y)
    session.page.mouse.down()
    session.page.mouse.move(x - 120, y, steps=8)
    session.page.mouse.up()
    wait_for(lambda: session.value(5) != before, "dragging on the map moves the mask's weight")
    session.shot("dragged")


def play(session: Session) -> list[float]:
    """The playground: a preset, a slider by keyboard, reset; milliseconds of each move."""
    session.handle(EXPOSURE)
    first = session.picture(PLAYGROUND)
    session.press("night JPEG")
    session.changes(PLAYGROUND, first, "the picture follows the preset")
    session.shot("night")
    assert session.value(EXPOSURE) == 0.2
    night = session.picture(PLAYGROUND)
    session.press("reset")
    session.changes(PLAYGROUND, night, "the picture follows the reset")
    assert session.value(EXPOSURE) == 0
    times = []
    for _ in range(MOVES // 2):
        times.append(session.page.evaluate(FOLLOW, [EXPOSURE, PLAYGROUND]))
        session.page.wait_for_timeout(300)
    session.shot("exposed")
    return times


def run_all(session: Session) -> None:
    """Run all cells. Repeated while none runs: JupyterLab may call a kernel idle too early."""
    begun = session.page.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]"))
    select = session.page.locator(".jp-Dialog button.jp-mod-accept")
    # JupyterLab may ask which kernel to use, before the notebook's own has started.
    session.page.add_locator_handler(select, lambda button: button.click())
    for _ in range(6):
        session.menu("Run", "Run All Cells")
        session.page.wait_for_timeout(10_000)
        if begun.count():
            return
    session.shot("nothing_runs")
    raise AssertionError("no cell runs: see the last screenshot")


def main() -> int:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        print("skipped: Playwright is not installed (pip install playwright).")
        return 0
    browser = chromium()
    if browser is None:
        print("skipped: there is no Chromium on this machine (Debian: apt-get install chromium).")
        return 0
    folder = ROOT / "runs" / "browser"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    server, address = serve(copy(folder))
    try:
        with sync_playwright() as driver:
            started = driver.chromium.launch(executable_path=browser, args=FLAGS)
            page = started.new_page(viewport={"width": 1300, "height": 1500})
            times = drive(page, address, folder)
    finally:
        server.terminate()
        server.wait(20)
    record = json.loads((folder / "run" / "record.json").read_text(encoding="utf-8"))
    check(record, folder)
    return report(record, times, folder)


def report(record: dict, times: dict[str, list[float]], folder: Path) -> int:
    """Print and store what was measured; 1 if a picture was too slow."""
    result: dict[str, Any] = {"steps": len(record["rows"])}
    slow = []
    for name, each in times.items():
        median = statistics.median(each)
        result[f"{name}: slider to picture, median ms"] = round(median, 1)
        result[f"{name}: slowest ms"] = round(max(each), 1)
        if median > FOLLOWS_MS or max(each) > SLOWEST_MS:
            slow.append(name)
    result["all, ms"] = {name: [round(value) for value in each] for name, each in times.items()}
    text = json.dumps(result, indent=1) + "\n"
    (folder / "result.json").write_text(text, encoding="utf-8")
    shown = "; ".join(f"{name} {value}" for name, value in result.items() if "all" not in name)
    print(shown, "- screenshots in", folder.relative_to(ROOT))
    if slow:
        limits = f"{FOLLOWS_MS} ms, or {SLOWEST_MS} ms in the slowest case"
        what = " and ".join(slow)
        print(f"error: the picture of {what} follows its slider in over {limits}.", file=sys.stderr)
        return 1
    return 0


def drive(page, address: str, folder: Path) -> dict[str, list[float]]:
    """Run the notebook and use its panels; milliseconds from slider to picture, by panel."""
    page.goto(address)
    page.locator(".jp-Notebook-cell").first.wait_for(timeout=120_000)
    session = Session(page, folder)
    try:
        return use(session, folder)
    except Exception:
        session.shot("failed")
        raise


def use(session: Session, folder: Path) -> dict[str, list[float]]:
    """Run all cells, use the panels; milliseconds from slider to picture, by panel."""
    page = session.page
    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    idle.first.wait_for(timeout=120_000)
    run_all(session)
    page.locator(".widget-slider").nth(EXPOSURE).wait_for(timeout=120_000)
    wait_for(lambda: (folder / "run" / "metrics.json").exists(), "all cells have run", 120)
    session.shot("all_run")
    tune(session)
    times = {"bank": follow(session), "playground": play(session)}
    page.locator(".jp-CodeCell .jp-InputArea-editor").last.click()
    page.keyboard.press("Shift+Enter")
    record = folder / "run" / "record.json"
    wait_for(lambda: record.exists() and record.stat().st_size, "the last cell has run")
    return times


def check(record: dict, folder: Path) -> None:
    """The weights that were trained with are those of the sliders, also in the saved file."""
    assert record["state"] == "stopped", record["state"]
    (mask, depth), *_, (last_mask, last_depth) = record["rows"]
    assert math.isclose(mask, 0.3) and math.isclose(depth, 0.7), f"began with {mask}, {depth}"
    assert math.isclose(last_mask, 0.35) and last_depth > 0.75, (
        f"ended with {last_mask, last_depth}"
    )
    kept = json.loads((folder / "run" / "tuned.json").read_text(encoding="utf-8"))
    assert math.isclose(kept["MASK_WEIGHT"], last_mask), kept
    assert math.isclose(kept["DEPTH_WEIGHT"], last_depth), kept
    tries = json.loads((folder / "run" / "tuned-tries.json").read_text(encoding="utf-8"))
    assert any(each["weights"]["depth"] == 0 for each in tries), "the preset was tried"


if __name__ == "__main__":
    sys.exit(main())
