"""Catalogues of backgrounds, cut-outs and true pairs: reading them, building them from photos."""

from eva_helpers.catalogue.build import build_catalogue
from eva_helpers.catalogue.catalogue import (
    SPLITS,
    STANDARD_FOCAL,
    STANDARD_HEIGHT,
    Camera,
    Catalogue,
    Cutout,
    Pair,
    Scene,
    load_catalogue,
)
from eva_helpers.catalogue.depth_labels import depth_estimator, label_depth
from eva_helpers.catalogue.opening import open_catalogue
from eva_helpers.catalogue.public_data import public_photos
from eva_helpers.catalogue.reading import decode_depth, read_background, read_cutout, read_pair
from eva_helpers.catalogue.sources import photos_of_folder

__all__ = [
    "SPLITS", "STANDARD_FOCAL", "STANDARD_HEIGHT", "Camera", "Catalogue", "Cutout", "Pair", "Scene",
    "build_catalogue", "decode_depth", "depth_estimator", "label_depth", "load_catalogue",
    "open_catalogue", "photos_of_folder", "public_photos", "read_background", "read_cutout",
    "read_pair",
]  # fmt: skip
