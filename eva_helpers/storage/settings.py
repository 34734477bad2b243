"""What written composites say about themselves in `settings.json`."""

import hashlib
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from eva_helpers.data import CompositeDataset
from eva_helpers.data.dataset import Placing
from eva_helpers.schemas import Count, Flag, Name, Positive, Seed, Share, Side

WRITTEN = "the settings of `eva-helpers dataset write`"
OPTIONS = ("positions", "placement", "empty", "true_pairs", "variety", "seed")


class Written(TypedDict):
    """What decides the files, whichever format they have."""

    depth: Literal["near dark, far bright"]
    catalogue: str
    items: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]  # hash of what they are made of
    count: Count
    size: Side
    positions: Annotated[Count, Field(le=10**6)]
    placement: Placing
    empty: Share
    true_pairs: NotRequired[Share]  # not in folders of version 0.1
    variety: NotRequired[Share]
    seed: Seed


class Folders(Written):
    """The settings of a file for each map."""

    format: Literal["eva_helpers.folders 1", "eva_helpers.folders 2"]
    jpeg: Flag


class Shards(Written):
    """The settings of tar files."""

    format: Literal["eva_helpers.shards 1"]
    split: Name
    per_shard: Count
    z_near: Positive | None  # metres; None: depth has no scale
    depth_white: Positive


def settings_of(composites: CompositeDataset, items: np.ndarray) -> dict[str, Any]:
    """What decides the files of `items`."""
    ids = [scene.id for scene in composites.scenes] + [item.id for item in composites.objects]
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    settings: dict = {"depth": "near dark, far bright", "catalogue": composites.catalogue.name}
    settings |= {"items": digest, "count": len(items), "size": composites.canvas}
    return settings | {name: getattr(composites, name) for name in OPTIONS}
