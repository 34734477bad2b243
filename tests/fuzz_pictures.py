"""Damaged pictures at random: `make fuzz` (MINUTES=1).

Small pictures of all formats are made, their bytes changed, and what comes out must be a picture
of a sane size, or an InputError, within LIMIT seconds. An input that does something else stays in
the folder, with its number.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from eva_helpers.files import InputError
from eva_helpers.images import open_picture, to_rgb
from eva_helpers.paths import ROOT
from eva_helpers.schemas import MAX_SIDE

LIMIT = 20  # seconds for one picture; then the process ends, with a traceback
FORMATS = (
    *("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "TGA", "QOI", "PPM", "ICO"),
    "MPO",
)
TIFFS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")


def seeds() -> list[bytes]:
    """Whole pictures: every format, and kinds of PNG and TIFF that are decoded in other ways."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (6, 6, 3), np.uint8)
    colour = Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)
    deep = Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 257)
    floats = Image.fromarray(np.asarray(colour.convert("L")).astype(np.float32) / 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = [(colour, {"format": kind}) for kind in FORMATS]
    kinds += [(colour, {"format": "TIFF", "compression": name}) for name in TIFFS]
    kinds += [(deep, {"format": kind}) for kind in ("PNG", "TIFF", "PPM")]
    kinds += [(colour.convert("P"), {"format": kind}) for kind in ("PNG", "GIF", "TIFF", "BMP")]
    kinds += [(floats, {"format": "TIFF"}), (colour.convert("RGBA"), {"format": "PNG"})]
    kinds += [(colour.convert("CMYK"), {"format": "JPEG"})]
    kinds += [(colour, {"format": "JPEG", "exif": exif, "progressive": True})]
    return [_encoded(image, options) for image, options in kinds]


def _encoded(image: Image.Image, options: dict) -> bytes:
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` with bits turned, bytes replaced, a part repeated, moved or cut off."""
    values = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.integers(1, 6)):
        near = min(len(values), 200)  # sizes and tags, which matter most
        place = int(rng.integers(near if rng.random() < 0.6 else len(values)))
        span = int(rng.integers(1, 9))
        way = rng.integers(5)
        if way == 0:
            values[place] ^= 1 << rng.integers(8)
        elif way == 1:
            part = values[place : place + span]
            part[:] = rng.choice((0, 1, 127, 128, 255), len(part))
        elif way == 2:
            values = np.insert(values, place, values[place : place + span])
        elif way == 3:
            values = np.delete(values, slice(max(1, place), place + span))
        elif rng.random() < 0.2:
            values = values[: max(1, place)]
    return values.tobytes()


def fuzz(folder: Path, seconds: float, seed: int) -> Counter:
    """Try damaged pictures for some time; how many were read, and how many refused.

    Raises whatever else a reader raises; the picture is `folder`/input then.
    """
    rng = np.random.default_rng(seed)
    originals = seeds()
    tried: Counter = Counter()
    end = time.monotonic() + seconds
    path = folder / f"input-{seed}"
    while time.monotonic() < end:
        path.write_bytes(damaged(originals[rng.integers(len(originals))], rng))
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        try:
            photo = to_rgb(open_picture(path))
            assert photo.dtype == np.uint8 and 1 <= min(photo.shape) <= max(photo.shape) <= MAX_SIDE
            tried["read"] += 1
        except InputError as error:
            assert str(error).endswith(".") and "\n" not in str(error), error
            tried["refused"] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
    path.unlink()
    return tried


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    folder = ROOT / "runs" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}; what is not handled stays in {folder}", flush=True)
    tried = fuzz(folder, 60 * options.minutes, options.seed)
    print(f"{tried['read']} damaged pictures read, {tried['refused']} refused, nothing else")


if __name__ == "__main__":
    main()
