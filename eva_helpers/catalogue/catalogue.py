"""A catalogue: a folder whose `catalogue.json` lists backgrounds, cut-outs and true pairs."""

import os
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, ValidationInfo
from typing_extensions import TypedDict

from eva_helpers.files import InputError, checked_path, is_file, read_json
from eva_helpers.paths import PARK
from eva_helpers.schemas import MAX_SIDE, FileInside, Name, Number, Positive, Split, checked

SPLITS = get_args(Split)
STANDARD_FOCAL = 0.8  # of the standard camera: focal length / picture width (about the park's)
STANDARD_HEIGHT = 1.4  # of the standard camera: metres above the ground
Item = TypeVar("Item", "Scene", "Cutout", "Pair")
Metres = Annotated[Positive, Field(le=10_000)]
Pixels = Annotated[Positive, Field(le=10**6)]
Place = Annotated[int, Field(ge=0, lt=MAX_SIDE)]  # row or column


class LogDepth(TypedDict):
    """Stored depth v stands for near * exp(step * (v - 1)) metres, 0 for infinitely far."""

    kind: Literal["log"]
    near: Metres
    step: Annotated[Positive, Field(le=1)]


class InverseDepth(TypedDict):
    """Stored depth v stands for inverse depth v / 65535, near = 1."""

    kind: Literal["inverse"]


class Relief(TypedDict, total=False):
    """Stored relief v stands for (v - zero) * step metres behind the contact point."""

    zero: Number
    step: Metres


DepthEncoding = Annotated[LogDepth | InverseDepth, Discriminator("kind")]


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

    `focal` is in pixels of the stored picture, `camera_height` in metres. A view of split "pairs"
    is only that of true pairs.
    """

    id: Name
    scene: Name
    split: Literal["train", "validation", "test", "pairs"]
    image: FileInside
    depth: FileInside | None
    ground: FileInside | None = None
    focal: Pixels | None = None
    camera_height: Metres | None = None
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

    id: Name
    object: Name
    split: Split
    image: FileInside
    relief: FileInside | None = None
    metres_per_pixel: Annotated[Positive, Field(ge=1e-6, le=100)] | None = None
    contact: tuple[Number, Number] | None = None
    info: dict = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Pair:
    """A true pair: the view `scene` rendered with `object` in it; mask and depth are exact.

    The files show the whole view, or the part that starts at row `top` and column `left`.
    """

    id: Name
    scene: Name
    object: Name
    split: Split
    image: FileInside
    mask: FileInside
    depth: FileInside
    top: Place | None = None
    left: Place | None = None
    info: dict = field(default_factory=dict, compare=False)


def _unique(items: tuple[Item, ...], info: ValidationInfo) -> tuple[Item, ...]:
    ids = Counter(item.id for item in items)
    if len(ids) < len(items):
        twice = ids.most_common(1)[0][0]
        raise InputError(f"{info.context} has two {info.field_name} called {twice}: rename one.")
    return items


UNIQUE = AfterValidator(_unique)


def _with_info(kind: type) -> BeforeValidator:
    """Moves what is no field of `kind` to `info`."""
    known = {column.name for column in fields(kind)} - {"info"}

    def moved(entry: Any) -> Any:
        if not isinstance(entry, dict):
            return entry
        info = {key: value for key, value in entry.items() if key not in known}
        return {key: entry[key] for key in known & entry.keys()} | {"info": info}

    return BeforeValidator(moved)


@dataclass(frozen=True)
class Catalogue:
    """The contents of one folder; depth 1.0 is `z_near` metres from the standard camera."""

    folder: Path
    name: str
    z_near: Metres
    depth_encoding: DepthEncoding
    scenes: Annotated[tuple[Annotated[Scene, _with_info(Scene)], ...], UNIQUE]
    cutouts: Annotated[tuple[Annotated[Cutout, _with_info(Cutout)], ...], UNIQUE]
    pairs: Annotated[tuple[Annotated[Pair, _with_info(Pair)], ...], UNIQUE] = ()
    relief_encoding: Relief | None = None

    def __post_init__(self) -> None:
        if self.relief_encoding is None and any(item.relief for item in self.cutouts):
            listing = self.folder / "catalogue.json"
            raise InputError(f"{listing} has reliefs, but no relief_encoding: restore it.")

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
        InputError: it is missing or damaged, does not fit `Catalogue`, or names a file that is
            missing or outside the folder.
    """
    path = checked_path(folder) / "catalogue.json"
    if path.parent == PARK and not is_file(path):
        raise InputError(
            f"the embedded park is not at {PARK} (an installed package does not contain it): "
            "clone the repository and work inside it, or give a catalogue folder."
        )
    data = read_json(path, "the JSON file of a catalogue folder such as assets/park")
    head = {"folder": path.parent} if isinstance(data, dict) else {}
    return checked(Catalogue, (data | head) if head else data, path, path)
