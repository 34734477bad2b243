"""Many images of one scene: masks, depth and cut-outs, on all cores; an interrupted run goes on.

images, in order --> one thread a core: read, network --> in order: smooth, check, write
                      (each with its own copy)            (a few are under way, never all)
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from eva_helpers.files import InputError, same_settings, writable_folder, write_json
from eva_helpers.images import open_picture, read_rgb, to_rgb, white_level
from eva_helpers.partials import remove_partials
from eva_helpers.paths import WEIGHTS
from eva_helpers.predict.frames import Frames, frames
from eva_helpers.predict.outputs import Average, Checks, Listing, Writer, write_video
from eva_helpers.predict.parallel import Workers, in_order
from eva_helpers.predict.predictor import Photo
from eva_helpers.shards import own_shard, part_of


@dataclass
class Report:
    """What became of the images; refusals and problems of pairs by name."""

    predicted: int = 0
    known: int = 0  # outputs were there
    refused: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # on the source

    @property
    def seen(self) -> int:
        """Images of any kind so far."""
        return self.predicted + self.known + len(self.refused)


def predict_many(
    background: str | os.PathLike,
    images: str | os.PathLike,
    out: str | os.PathLike,
    *,
    outputs: Sequence[str] = ("mask", "depth"),
    replacement: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    resize: bool = False,
    align: bool = False,
    smooth: float = 0.0,
    shard: tuple[int, int] | None = None,
    progress: bool = True,
) -> Report:
    """Predict all `images` (folder, pattern or video) with one background, into `out`.

    Writes `mask/NAME.png` (8 bit), `depth/NAME.png` (16 bit, near = bright) and, if in `outputs`,
    `cutout/NAME.png` (RGBA) and `replaced/NAME.png` (before the photo `replacement`; of a video
    also `replaced.mp4`), and `images.csv`, the list of images with the object's share of the frame
    and problems. An image whose outputs exist is left as it is, so that a second call goes on.

    Args:
        resize: stretch the background to images of another shape.
        align: move and brighten the background to match each image, where that is needed.
        smooth: 0 to below 1, the weight of the image before in a moving average of both maps; it
            begins anew where the scene jumps or a run goes on.
        shard: (number, count): only this part of the images, from (0, count); by default that of
            this process, where Accelerate or torchrun has started several.

    Raises:
        InputError: there are no images, `out` holds results of other photos or settings, or
            something cannot be written. An unusable image is refused in the report instead.
    """
    source = frames(str(images))
    shard = shard or own_shard()
    part = part_of(source.count, shard)
    is_last = shard[0] == shard[1] - 1
    _check_options(outputs, replacement, smooth, shard, source)
    work = Workers(_prepared(background), weights, resize, align)
    scenery = None if replacement is None else read_rgb(replacement)
    writer = Writer(writable_folder(out), outputs, scenery)
    used = {"background": background, "weights": weights or WEIGHTS, "replacement": replacement}
    settings: dict = {name: _checksum(path) for name, path in used.items() if path is not None}
    settings |= {"images": str(Path(images).resolve()), "smooth": smooth}
    _claim(writer, settings | {"resize": resize, "align": align})
    listing = Listing(writer.folder / _list_name(shard), writer.done)
    average = Average(smooth)
    checks = Checks(always=align)
    report = Report()

    def wanted(number: int, name: str) -> bool:
        listing.order[name] = number
        mine = part.start <= number and (number < part.stop or is_last)
        report.known += mine and writer.done(name)
        return mine and not writer.done(name)

    total = part.stop - part.start if source.count else None
    with tqdm(total=total, desc="images", unit="image", disable=not progress) as bar:
        for name, result in in_order(work, source.read(wanted)):
            if isinstance(result, str):
                report.refused[name] = result
                listing.add(name, None, result)
            else:
                problem, jumped = checks(result)
                averaged = average(result, jumped)
                # first, because a later call drops the row of an image without outputs
                listing.add(name, float((averaged.mask > 0.5).mean()), problem)
                writer.write(name, averaged)
                report.predicted += 1
                report.problems |= {name: problem} if problem else {}
            bar.update(report.seen - bar.n)
        bar.update(report.seen - bar.n)
    listing.sort()
    report.notes = _notes(source, report, shard)
    if (
        source.rate
        and "replaced" in outputs
        and shard[1] == 1
        and report.seen > len(report.refused)
    ):
        write_video(writer.folders["replaced"], writer.folder / "replaced.mp4", source.rate)
    return report


def _claim(writer: Writer, settings: dict) -> None:
    """Record the settings in the writer's folder, and tidy up after a killed call.

    Raises:
        InputError: it holds results of other settings, or pictures of unknown origin.
    """
    there = writer.files()  # before the settings, which another shard writes first
    path = writer.folder / "settings.json"
    known = same_settings(path, settings, "choose another folder")
    if there and not known:
        raise InputError(
            f"{writer.folder} holds pictures of unknown origin: choose another folder."
        )
    if not known:
        write_json(path, settings)
    pictures = [f"{kind}/*.png" for kind in writer.folders]
    remove_partials(writer.folder, path.name, "images*.csv", *pictures)


def _notes(source: Frames, report: Report, shard: tuple[int, int]) -> list[str]:
    """What the user should know about the source."""
    notes = []
    if source.skipped:
        notes.append(f"files that are no pictures, left out: {source.skipped}")
    if source.rate and report.seen < source.count and shard[1] == 1:
        notes.append(f"the video ends after {report.seen} of the {source.count} frames it promises")
    return notes


def _check_options(
    outputs: Sequence[str], replacement: str | os.PathLike | None, smooth: float,
    shard: tuple[int, int], source: Frames,
) -> None:  # fmt: skip
    if unknown := set(outputs) - set(Writer.KINDS):
        raise InputError(f"outputs {sorted(unknown)} are unknown: use {', '.join(Writer.KINDS)}.")
    if ("replaced" in outputs) != (replacement is not None):
        raise InputError("'replaced' needs a photo as new background, and such a photo 'replaced'.")
    if not 0 <= smooth < 1:
        raise InputError(f"smooth is {smooth:g}: expected 0 (each image alone) to below 1.")
    if shard[1] > 1 and not source.count:
        raise InputError("the video does not say how long it is: it cannot be split into shards.")


def _list_name(shard: tuple[int, int]) -> str:
    """Every shard has its own list, because only one process can write a file."""
    return "images.csv" if shard[1] == 1 else f"images-{shard[0] + 1}-of-{shard[1]}.csv"


def _prepared(background: str | os.PathLike) -> Photo:
    """The background, decoded once; of more than 8 bits its path: it is scaled with each image."""
    picture = open_picture(background)
    return background if white_level(picture) else to_rgb(picture)


def _checksum(path: str | os.PathLike) -> str:
    """Of a file's content. Raises InputError where there is none."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from None
