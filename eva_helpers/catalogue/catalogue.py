"""A catalogue: a folder whose `catalogue.json` lists backgrounds, cut-outs and true pairs."""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from eva_helpers.files import InputError, file_inside, read_json
from eva_helpers.paths import PARK

SPLITS = ("train", "validation", "test")
STANDARD_FOCAL = 0.8  # of the standard camera: focal length / picture width (about the park's)
STANDARD_HEIGHT = 1.4  # of the standard camera: metres above the ground
FILES = ("image", "mask", "depth", "ground", "relief")  # the fields that name a file
Item = TypeVar("Item", "Scene", "Cutout", "Pair")


@dataclass(frozen=True)
class Camera:
    """How metres map to pixels and to depth in one picture.

    At distance z of the *standard camera*, a metre is `focal` / z pixels high; a metre along the
    viewing direction changes z by `unit`. A picture shows neither focal length nor camera height:
    from half the height, the ground looks the same at half the distance. A network could only
    memorise labels that depend on them, so they are normalised (Yin et al., 2023, do so for the
    focal length): z = z_metres * STANDARD_FOCAL * STANDARD_HEIGHT / (focal length / width * camera
    height). `predict.effects.metres` converts back.
    """

    focal: float
    unit: float = 1.0


@dataclass(frozen=True)
class Scene:
    """One background. Views of one place share `scene`; without `depth`, it trains masks only.

    `focal` is in pixels of the stored picture, `camera_height` in metres.
    """

    id: str
    scene: str
    split: str
    image: Path
    depth: Path | None
    ground: Path | None = None
    focal: float | None = None
    camera_height: float | None = None
    info: dict = field(default_factory=dict, compare=False)

    def camera(self, width: int, size: int | None = None) -> Camera | None:
        """Camera of the picture, `width` px wide, resampled to `size` px; None without `focal`."""
        if not self.focal:
            return None
        height_ratio = STANDARD_HEIGHT / self.camera_height if self.camera_height else 1.0
        unit = STANDARD_FOCAL * width / self.focal * height_ratio
        return Camera(self.focal * unit * (size or width) / width, unit)


@dataclass(frozen=True)
class Cutout:
    """An object cut out of a picture (RGBA); it touches the ground at `contact` (row, column)."""

    id: str
    object: str
    split: str
    image: Path
    relief: Path | None = None
    metres_per_pixel: float | None = None
    contact: tuple[float, float] | None = None
    info: dict = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Pair:
    """A true pair: the view `scene` rendered with `object` in it; mask and depth are exact.

    The files show the whole view, or the part that starts at row `top` and column `left`.
    """

    id: str
    scene: str
    object: str
    split: str
    image: Path
    mask: Path
    depth: Path
    top: int | None = None
    left: int | None = None
    info: dict = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Catalogue:
    """The contents of one folder; depth 1.0 is `z_near` metres from the standard camera."""

    folder: Path
    name: str
    z_near: float
    depth_encoding: dict[str, Any]
    relief_encoding: dict[str, Any]
    scenes: tuple[Scene, ...]
    cutouts: tuple[Cutout, ...]
    pairs: tuple[Pair, ...] = ()

    @property
    def metric(self) -> bool:
        """Whether depth labels have a scale; those of pretrained models have none."""
        return self.depth_encoding["kind"] != "inverse"

    def backgrounds(self, split: str | None = None) -> list[Scene]:
        """Scenes of one split, or all with None; those only for true pairs are left out.

        Raises InputError if the split is unknown or empty.
        """
        scenes = [scene for scene in self.scenes if scene.split in SPLITS]
        return _of_split(scenes, split, f"{self.folder}: no background")

    def objects(self, split: str | None = None) -> list[Cutout]:
        """Cut-outs of one split, or all with None. Raises InputError as `backgrounds`."""
        return _of_split(list(self.cutouts), split, f"{self.folder}: no cut-out")

    def true_pairs(self, split: str) -> list[Pair]:
        """True pairs of one split: its views with its objects. Many catalogues have none."""
        return [pair for pair in self.pairs if pair.split == split]


def _of_split(items: list[Item], split: str | None, missing: str) -> list[Item]:
    if split not in (None, *SPLITS):
        raise InputError(
            f"split {split!r} is unknown: choose {', '.join(SPLITS)}, or None for all."
        )
    chosen = [item for item in items if split in (None, item.split)]
    if not chosen:
        raise InputError(f"{missing} in split {split!r}: add photos, or correct the split.")
    return chosen


def load_catalogue(folder: str | os.PathLike = PARK) -> Catalogue:
    """Read `folder/catalogue.json`.

    Raises:
        InputError: it is missing or damaged, lacks a field, or names a file that is missing or
            outside the folder.
    """
    folder = Path(folder)
    path = folder / "catalogue.json"
    if folder == PARK and not path.is_file():
        raise InputError(
            f"the embedded park is not at {PARK} (an installed package does not contain it): "
            "clone the repository and work inside it, or give a catalogue folder."
        )
    data = read_json(path, "the JSON file of a catalogue folder such as assets/park")
    try:
        return Catalogue(
            folder,
            data["name"],
            float(data["z_near"]),
            data["depth_encoding"],
            data.get("relief_encoding", {}),
            tuple(_read_entry(Scene, entry, path) for entry in data["scenes"]),
            tuple(_read_entry(Cutout, entry, path) for entry in data["cutouts"]),
            tuple(_read_entry(Pair, entry, path) for entry in data.get("pairs", ())),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: an entry is incomplete ({error}): every scene needs id, scene, split, image "
            "and depth, every cut-out id, object, split and image."
        ) from None


def _read_entry(kind: type[Item], entry: dict[str, Any], listing: Path) -> Item:
    """One entry of `listing`; what is no field of `kind` goes to `info`."""
    known = {column.name for column in fields(kind)} - {"info"}
    values = {key: value for key, value in entry.items() if key in known}
    for name in FILES:
        if values.get(name) is not None:
            values[name] = file_inside(listing.parent, values[name], listing)
    for name in {"scene", "object"} & values.keys():
        values[name] = str(values[name])
    if values.get("contact") is not None:
        values["contact"] = tuple(values["contact"])
    return kind(**values, info={key: value for key, value in entry.items() if key not in known})
