"""Many images of one scene, one after another: those of a folder, of a pattern, or of a video."""

import glob
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from eva_helpers.files import InputError, is_file
from eva_helpers.images import is_picture, picture_files

VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".mts", ".gif")
DIGITS = 6  # of a frame's number

Source = Path | np.ndarray  # a picture's file, or a frame, uint8 RGB (H, W, 3)
Wanted = Callable[[int, str], bool]  # number, from 0, and name


@dataclass(frozen=True)
class Frames:
    """Named images in order.

    Attributes:
        count: how many there are; of a video, how many its header promises, or 0.
        rate: frames a second of a video, otherwise 0.
        skipped: files of a folder that are no pictures.
        read: `read(wanted)` gives (name, source) of the images for which `wanted(number, name)`.
    """

    count: int
    rate: float
    skipped: int
    read: Callable[[Wanted], Iterator[tuple[str, Source]]]


def frames(source: str) -> Frames:
    """The images of `source`: a folder, a pattern such as `shots/*.jpg`, or a video.

    Raises:
        InputError: there is none, two have one name, or the video cannot be decoded.
    """
    path = Path(source)
    if is_file(source) and path.suffix.lower() in VIDEOS:
        return _of_video(path)
    if path.is_dir():
        files = picture_files(path)
        skipped = sum(each.is_file() for each in path.iterdir()) - len(files)
    else:
        found = sorted(Path(name) for name in glob.glob(source, recursive=True))  # noqa: PTH207
        files = [each for each in found if each.is_file() and is_picture(each)]
        skipped = len(found) - len(files)
    if not files:
        raise InputError(
            f"{source} holds no pictures: give a folder, a pattern in quotes, or a video."
        )
    names: dict[str, Path] = {}
    for file in files:
        other = names.setdefault(file.stem, file)
        if other != file:
            raise InputError(f"{other} and {file} have one name: rename one of them.")

    def read(wanted: Wanted) -> Iterator[tuple[str, Source]]:
        return (each for number, each in enumerate(names.items()) if wanted(number, each[0]))

    return Frames(len(files), 0.0, skipped, read)


def _of_video(path: Path) -> Frames:
    """The frames of a video, upright; named by their number, from 0."""
    video = _opened(path)
    count = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
    rate = video.get(cv2.CAP_PROP_FPS)
    decodable = video.grab()
    video.release()
    if not decodable:
        raise InputError(f"{path} has no frame that can be decoded: convert it to MP4 (H.264).")

    def read(wanted: Wanted) -> Iterator[tuple[str, Source]]:
        running = _opened(path)
        try:
            number = 0
            while running.grab():
                name = f"{number:0{DIGITS}d}"
                if wanted(number, name):
                    known, frame = running.retrieve()
                    if not known:
                        return
                    yield name, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                number += 1
        finally:
            running.release()

    return Frames(count, rate if np.isfinite(rate) and rate > 0 else 25.0, 0, read)


def _opened(path: Path) -> cv2.VideoCapture:
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise InputError(f"{path} is not a video that can be read: convert it to MP4 (H.264).")
    return video
