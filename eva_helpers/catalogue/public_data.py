"""Two public data sets as photo files: the dogs of Oxford-IIIT Pet, the parks of Places365."""

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from eva_helpers.catalogue.sources import PhotoFile, from_trimap
from eva_helpers.files import InputError, make_folder, read_text, write_whole
from eva_helpers.images import read_rgb
from eva_helpers.partials import remove_partials

PUBLIC = "pets+places"  # the name of both together
PARKS = "park lawn yard picnic_area playground field/cultivated field/wild pasture golf_course"
DOG = "2"  # the species in the annotations of Oxford-IIIT Pet; 1 is a cat


def public_photos(
    root: str | os.PathLike, download: bool = True, limit: int = 500
) -> list[PhotoFile]:
    """Parks of Places365's small validation set, and dogs cut out with Oxford-IIIT Pet's trimaps.

    torchvision downloads both into `root` and verifies their checksums. An interrupted extraction
    is repeated from the archive; folders that were there before are used as they are. At most
    `limit` photos of each kind are used.

    Raises:
        InputError: they are not in `root` and cannot be fetched, or what is there is damaged.
    """
    from torchvision.datasets import OxfordIIITPet, Places365

    root = Path(root)
    pets = root / "oxford-iiit-pet"
    trimaps = pets / "annotations" / "trimaps"
    places = root / "places"
    try:
        with _safe_extraction():
            make = partial(OxfordIIITPet, root)
            _complete(make, pets, ("images", "annotations"), download)
            make = partial(Places365, places, "val", small=True)
            views = _complete(make, places, ("val_256",), download)
        rows = (trimaps.parent / "trainval.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"the data sets are not in {root} and could not be fetched ({error}): connect to the "
            "network and repeat - what has been downloaded stays - or use photos of your own "
            "(--folder), or the embedded park, which needs no network."
        ) from None
    # the categories are called "/p/park", the rows of the annotations "NAME BREED SPECIES NUMBER"
    parks = {number for name, number in views.class_to_idx.items() if name[3:] in PARKS.split()}
    scenes = [Path(path) for path, number in views.imgs if number in parks]
    dogs = [row.split()[0] for row in rows if row.split()[2] == DOG]
    photos = [PhotoFile("scenes", path.name, read_rgb, (path,)) for path in scenes[:limit]]
    for name in dogs[:limit]:
        files = (pets / "images" / f"{name}.jpg", trimaps / f"{name}.png")
        photos.append(PhotoFile("cutouts", name, from_trimap, files))
    return photos


@contextmanager
def _safe_extraction() -> Iterator[None]:
    """Archives extracted meanwhile cannot write outside their folder (from Python 3.11.4)."""
    before = getattr(tarfile.TarFile, "extraction_filter", None)
    if hasattr(tarfile, "data_filter"):
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


def _complete(
    make: Callable[..., Any], root: Path, folders: tuple[str, ...], download: bool
) -> Any:
    """The data set `make(download=...)`, whose archives contain `folders` of `root`.

    What an interrupted extraction leaves is removed; folders that were there before never are.
    """
    if not download:
        return make(download=False)
    mark = make_folder(root) / ".extracting"  # lists the folders that were not there before
    remove_partials(root, mark.name)
    _remove(root, read_text(mark).split() if mark.exists() else [])  # left by a killed process
    missing = [name for name in folders if not (root / name).exists()]
    write_whole(mark, " ".join(missing).encode())
    try:
        return make(download=True)
    except BaseException:
        _remove(root, missing)
        raise
    finally:
        mark.unlink()


def _remove(root: Path, names: list[str]) -> None:
    for name in names:
        shutil.rmtree(root / name, ignore_errors=True)
