"""Fills docs/demo/runtime, so that docs/demo can be served by any static host: `make demo`.

The networks come from the shipped weights, one for each shape of photo, and onnxruntime-web from
npm. `--serve` also serves the page.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from tqdm import tqdm

from eva_helpers import __version__
from eva_helpers.export import export_onnx
from eva_helpers.files import InputError, command_line, make_folder, write_json
from eva_helpers.model import load_weights
from eva_helpers.paths import ROOT, WEIGHTS
from eva_helpers.plots.pictures import DEPTH_MAP

PAGE = ROOT / "docs" / "demo"
FORMAT = 1  # of manifest.json; app.js has the same
SIZES = ((168, 224), (224, 168), (224, 224), (128, 224), (224, 128))  # height, width: 4:3, 1, 16:9
PACKAGE = "onnxruntime-web@1.30.0"
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def fetch_runtime(folder: Path) -> None:
    """Put the files of onnxruntime-web into `folder`. Raises InputError without npm or network."""
    npm = shutil.which("npm")
    if not npm:
        raise InputError("npm is not installed: install Node.js (Debian: apt install npm).")
    with tempfile.TemporaryDirectory() as name:
        done = subprocess.run(
            [npm, "pack", PACKAGE, "--silent"],
            cwd=name,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise InputError(f"npm could not fetch {PACKAGE} ({done.stderr.strip()[-200:]}).")
        shutil.unpack_archive(next(Path(name).glob("*.tgz")), name, filter="data")
        for file in RUNTIME:
            shutil.copy(Path(name) / "package" / "dist" / file, folder / file)


def hexadecimal(name: str) -> list[int]:
    """A colour map as 256 numbers 0xRRGGBB."""
    table = colormaps[name](np.arange(256), bytes=True)[:, :3].astype(int)
    return (table @ (65536, 256, 1)).tolist()


def build(folder: Path, weights: Path = WEIGHTS, sizes: tuple = SIZES) -> None:
    """Write networks and manifest into `folder`."""
    net = load_weights(weights)
    models = []
    for height, width in tqdm(sizes, desc="networks"):
        path = folder / f"network_{width}x{height}.onnx"
        export_onnx(net, path, (height, width), half=True)
        size = {"height": height, "width": width, "bytes": path.stat().st_size}
        models.append({"file": path.name} | size)
    tables = {"colours": hexadecimal(DEPTH_MAP), "grey": hexadecimal("gray")}
    manifest = {"format": FORMAT, "version": __version__, "models": models}
    write_json(folder / "manifest.json", manifest | tables)


@command_line
def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve the page on this computer")
    options = parser.parse_args(arguments)
    folder = make_folder(PAGE / "runtime")
    fetch_runtime(folder)
    build(folder)
    weight = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"{PAGE} is ready for any static host ({weight:.0f} MB; a visitor loads about 20)")
    if options.serve:
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(PAGE))
        print(f"http://localhost:{options.serve}", flush=True)
        http.server.ThreadingHTTPServer(("localhost", options.serve), handler).serve_forever()


if __name__ == "__main__":
    sys.exit(main())
