"""Notebook 06 in a real browser: `python tests/browser.py` (`make test-browser`).

Starts JupyterLab on a copy of the notebook, runs all its cells, moves sliders with mouse and keyboard, presses the buttons, and looks
whether the training and the pictures follow. Measures how long a picture takes to follow its slider. Screenshots and the figures go to
`runs/browser`. Needs Playwright and a system Chromium (Debian's package `chromium`); without them it says so and ends with status 0.
"""

from __future__ import annotations

import json
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

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "06_loss_weight_tuning.ipynb"
FOLLOWS_MS = 150  # the picture must follow its slider within this
MOVES = 12
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The time from a key press on slider `number` to the new picture after it, drawn: MutationObserver sees the source change, then a frame.
FOLLOW = """
([slider, picture]) => new Promise((resolve, reject) => {
  const image = document.querySelectorAll('img.widget-image')[picture];
  const handle = document.querySelectorAll('.widget-slider .noUi-handle')[slider];
  const start = performance.now();
  const late = setTimeout(() => reject(new Error('the picture did not follow')), 10000);
  const seen = new MutationObserver(() => {
    seen.disconnect();
    image.decode().catch(() => null).then(() => requestAnimationFrame(() => { clearTimeout(late); resolve(performance.now() - start); }));
  });
  seen.observe(image, {attributes: true, attributeFilter: ['src']});
  handle.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
})
"""


def chromium() -> str | None:
    """The system's Chromium, if there is one."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


def wait_for(condition: Callable, what: str, seconds: float = 60.0):
    """The first true value of `condition()`. Raises AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def copy(folder: Path) -> Path:
    """The notebook with short epochs and a run folder of its own, and one more cell that tells which weights were in force."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    at = next(number for number, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ()))
    values = {"SAMPLES_PER_EPOCH": 256, "VALIDATION_SAMPLES": 32, "RUN_DIR": str(folder / "run")}
    book.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(f"{name} = {value!r}" for name, value in values.items())))
    tell = (
        "import json\n"
        "rows = [[row['weight mask'], row['weight depth']] for row in tuner.record]\n"
        "(RUN / 'record.json').write_text(json.dumps({'state': tuner.state, 'rows': rows}))"
    )
    book.cells.append(nbformat.v4.new_code_cell(tell))
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
    environment = {key: value for key, value in os.environ.items() if key != "CI"}  # there, the notebook would make no widgets
    settings = path.parent / "settings"
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(settings), "JUPYTERLAB_WORKSPACES_DIR": str(settings)}
    news = settings / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with (path.parent / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=ROOT, env=environment, stdout=log, stderr=log)
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
        self.page, self.folder, self.shots = page, folder, 0

    def shot(self, name: str) -> None:
        """A numbered screenshot."""
        self.shots += 1
        self.page.screenshot(path=str(self.folder / f"{self.shots}_{name}.png"))

    def menu(self, top: str, entry: str) -> None:
        """Choose from JupyterLab's menu bar."""
        self.page.get_by_role("menuitem", name=top, exact=True).click()
        self.page.get_by_role("menuitem", name=entry).first.click()

    def status(self, number: int) -> str:
        """What panel `number` says."""
        return self.page.locator(".widget-html-content").nth(number).inner_text()

    def says(self, number: int, text: str, seconds: float = 60.0) -> str:
        return wait_for(lambda: text in self.status(number) and self.status(number), f"panel {number} says {text!r}", seconds)

    def press(self, text: str) -> None:
        self.page.get_by_role("button", name=text, exact=True).first.click()

    def handle(self, number: int):
        """The knob of slider `number` of the page."""
        knob = self.page.locator(".widget-slider .noUi-handle").nth(number)
        knob.scroll_into_view_if_needed()
        return knob

    def value(self, number: int) -> float:
        return float(self.page.locator(".widget-slider .widget-readout").nth(number).inner_text())

    def picture(self, number: int) -> str:
        return self.page.locator("img.widget-image").nth(number).get_attribute("src")


def tune(session: Session) -> None:
    """Part one: start, move by keyboard and by mouse, pause, resume, save, stop."""
    page = session.page
    session.press("start / resume")
    session.says(0, "running: step", 120)
    session.shot("running")
    knob, before = session.handle(0), session.picture(0)
    knob.focus()
    knob.press("ArrowRight")
    assert session.value(0) == 0.35, f"the keyboard moved the slider to {session.value(0)}"
    wait_for(lambda: session.picture(0) != before, "the live picture changes", 60)
    knob = session.handle(1)
    box = knob.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1], steps=6)
    page.mouse.up()
    assert session.value(1) > 0.75, f"the mouse moved the slider to {session.value(1)}"
    session.says(0, "running: step", 60)
    session.shot("moved")
    session.press("pause")
    session.says(0, "paused")
    time.sleep(3)
    halted = session.picture(0)
    time.sleep(10)
    assert session.picture(0) == halted, "a paused training draws nothing new"
    session.press("start / resume")
    wait_for(lambda: session.picture(0) != halted, "the training goes on", 60)
    session.press("save")
    session.says(0, "tuned.safetensors")
    session.press("stop")
    session.says(0, "stopped")
    session.shot("stopped")


def follow(session: Session) -> list[float]:
    """Part two: the picture follows the slider; milliseconds of each move."""
    session.handle(5)
    before, times = session.picture(1), []
    for number in range(MOVES):
        times.append(session.page.evaluate(FOLLOW, [5 + number % 2, 1]))
        time.sleep(0.2)
    assert session.picture(1) != before
    session.shot("followed")
    point = session.page.locator("button:has-text(' | ')").first
    point.click()
    wait_for(lambda: session.value(5) == 0.0, "the first point of the map sets the mask's slider")  # 0.02, in steps of 0.05
    session.shot("jumped")
    return times


def run_all(session: Session) -> None:
    """Run all cells; asked again while none runs, which has happened although the kernel was said to be idle."""
    begun = session.page.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]"))
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
    if not (browser := chromium()):
        print("skipped: there is no Chromium on this machine (Debian: apt-get install chromium).")
        return 0
    folder = ROOT / "runs" / "browser"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    server, address = serve(copy(folder))
    try:
        with sync_playwright() as driver:
            page = driver.chromium.launch(executable_path=browser, args=FLAGS).new_page(viewport={"width": 1300, "height": 1500})
            page.goto(address)
            page.locator(".jp-Notebook-cell").first.wait_for(timeout=120_000)
            session = Session(page, folder)
            page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").first.wait_for(timeout=120_000)
            run_all(session)
            page.locator(".widget-slider").nth(9).wait_for(timeout=120_000)
            wait_for(lambda: (folder / "run" / "metrics.json").exists(), "all cells have run", 120)
            session.shot("all_run")
            tune(session)
            times = follow(session)
            page.locator(".jp-CodeCell .jp-InputArea-editor").last.click()
            page.keyboard.press("Shift+Enter")
            record = json.loads(wait_for(lambda: (path := folder / "run" / "record.json").exists() and path.read_text(), "the last cell"))
    finally:
        server.terminate()
        server.wait(20)
    used = record["rows"]
    assert record["state"] == "stopped" and used[0] == [0.3, 0.7], record["state"]
    assert used[-1][0] == 0.35 and used[-1][1] > 0.75, f"the last step was trained with {used[-1]}"
    kept = json.loads((folder / "run" / "tuned.json").read_text())
    assert [kept["MASK_WEIGHT"], kept["DEPTH_WEIGHT"]] == used[-1]
    result = {"steps": len(used), "slider to picture, median ms": round(statistics.median(times), 1), "slowest ms": round(max(times), 1)}
    (folder / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print("; ".join(f"{name}: {value}" for name, value in result.items()), "- screenshots in", folder.relative_to(ROOT))
    if statistics.median(times) > FOLLOWS_MS:
        print(f"error: the picture takes longer than {FOLLOWS_MS} ms to follow its slider.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
