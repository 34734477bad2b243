"""Two public data sets as photo files: the dogs of Oxford-IIIT Pet, the parks of Places365."""

import os
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from eva_helpers.catalogue.sources import PhotoFile, from_trimap
from eva_helpers.files import InputError
from eva_helpers.images import read_rgb

PUBLIC = "pets+places"  # the name of both together
PARKS = "park lawn yard picnic_area playground field/cultivated field/wild pasture golf_course"
DOG = "2"  # the species in the annotations of Oxford-IIIT Pet; 1 is a cat


def public_photos(
    root: str | os.PathLike, download: bool = True, limit: int = 500
) -> list[PhotoFile]:
    """Parks of Places365's small validation set, and dogs cut out with Oxford-IIIT Pet's trimaps.

    torchvision downloads both into `root` and verifies their checksums; an interrupted extraction
    is repeated from the archive. At most `limit` photos of each kind are used.

    Raises:
        InputError: they are not in `root` and cannot be fetched, or what is there is damaged.
    """
    from torchvision.datasets import OxfordIIITPet, Places365

    root = Path(root)
    pets = root / "oxford-iiit-pet"
    trimaps = pets / "annotations" / "trimaps"
    places = root / "places"
    if hasattr(tarfile, "data_filter"):  # from Python 3.11.4: no writing outside the folder
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        _complete(partial(OxfordIIITPet, root), root, (pets / "images", trimaps.parent), download)
        make = partial(Places365, places, "val", small=True)
        views = _complete(make, places, (places / "val_256",), download)
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
    photos = [PhotoFile("scenes", path.name, partial(read_rgb, path)) for path in scenes[:limit]]
    for name in dogs[:limit]:
        read = partial(from_trimap, pets / "images" / f"{name}.jpg", trimaps / f"{name}.png")
        photos.append(PhotoFile("cutouts", name, read))
    return photos


def _complete(
    make: Callable[..., Any], root: Path, folders: tuple[Path, ...], download: bool
) -> Any:
    """The data set `make(download=...)`, after removing folders that were left half extracted."""
    mark = root / ".extracted"
    root.mkdir(parents=True, exist_ok=True)
    fetch = download and not mark.exists()
    for folder in folders if fetch else ():
        shutil.rmtree(folder, ignore_errors=True)
    dataset = make(download=fetch)
    if fetch:
        mark.touch()
    return dataset
