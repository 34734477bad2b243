"""Opening a catalogue by what a notebook's CATALOGUE or a command line names."""

import hashlib
import os
from pathlib import Path

from eva_helpers.catalogue.build import LICENCES, build_catalogue
from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.catalogue.depth_labels import depth_estimator, label_depth
from eva_helpers.catalogue.public_data import PUBLIC, public_photos
from eva_helpers.catalogue.sources import photos_of_folder
from eva_helpers.files import InputError, checked_path, writable_folder
from eva_helpers.paths import ROOT, typed_path


def open_catalogue(
    choice: str | os.PathLike = "", home: str | os.PathLike = ROOT / "data"
) -> Catalogue:
    """Load the catalogue `choice`; one made of photos is built in a folder of `home`.

    "" is the embedded park, which needs no network; "pets+places" downloads the public data sets;
    else it is a catalogue folder, or a folder with photos in `bg` and `fg`. Photos get depth
    labels if the depth model is available. Raises InputError if the folder is neither or an
    unfinished catalogue, or as `public_photos` and `build_catalogue`.
    """
    if not choice:
        return load_catalogue()
    name = PUBLIC if choice == PUBLIC else "folder"
    folder = typed_path(checked_path(choice)).resolve()
    if name == "folder" and (folder / "catalogue.json").is_file():
        return load_catalogue(folder)
    photos_there = (folder / "bg").exists() or (folder / "fg").exists()
    if name == "folder" and (folder / "scenes").is_dir() and not photos_there:
        raise InputError(
            f"{folder} is an unfinished catalogue: repeat the `eva-helpers photos` that made it, "
            "which says what is missing."
        )
    print(f"licence: {LICENCES[name]}")
    if name == PUBLIC:
        out = writable_folder(Path(home) / PUBLIC)
        photos = public_photos(Path(home) / "downloads")
    else:
        place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]  # names alone may coincide
        out = Path(home) / f"{folder.name}-{place}"
        photos = photos_of_folder(folder)
    catalogue = build_catalogue(out, photos, name, progress=True)
    if all(scene.depth for scene in catalogue.scenes):
        return catalogue
    try:
        estimate = depth_estimator()
    except InputError as error:
        print(f"no depth labels: {error} Masks can be trained without (DEPTH_WEIGHT 0).")
        return catalogue
    return label_depth(out, estimate, progress=True)
