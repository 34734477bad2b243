"""Dataset cards: what written composites are, for people and for the Hugging Face hub."""

import json
from pathlib import Path

from eva_helpers.data import CompositeDataset
from eva_helpers.files import write_whole

FOLDERS = """`metadata.csv` names the files of each sample, of which several may share a background:
`load_dataset("imagefolder", data_dir=...)` gives the columns `image`, `background`, `mask` and
`depth`. `manifest.csv` has the same rows for `eva_helpers.storage.FolderDataset`."""
SHARDS = """WebDataset shards `NAME-000000.tar`; a sample is `KEY.background.jpg`, `KEY.image.jpg`,
`KEY.mask.png`, `KEY.depth.png` and `KEY.json`, which tells what it was made of. They are read by
`eva_helpers.storage.ShardDataset`, by `webdataset`, and by `load_dataset` given this folder."""
TARS = """
configs:
- config_name: default
  data_files:
  - split: {split}
    path: "*.tar\""""
CARD = """---
pretty_name: {name}
task_categories:
- image-segmentation
- depth-estimation
size_categories:
- {size}{files}
---

# Pairs of photos with mask and depth

{count:,} composites of {canvas} x {canvas} px from the catalogue {catalogue}: a *background* (an
empty scene) and an *image* (the same scene with an object), the object's *mask* and the image's
*depth*.

{layout}

- **mask**: 8-bit grey, the share of a pixel that the object covers (0: none, 255: all).
- **depth**: {bits}-bit grey, dark where near. With `v = value / {white}`, `1 - v` is inverse depth:
  {scale} White everywhere: no label.
"""
METRIC = """`z_near / z` with z_near = {z_near:g} m, 1 for all that is nearer. The distance is
  `z = {z_near:g} m / (1 - v)`, for a camera {camera}."""
CAMERA = "1.4 m above the ground with a focal length of 0.8 picture widths"
FREE = "from 0 (far) to 1 (near) in each picture, without a unit."
SIZES = {"n<1K": 1e3, "1K<n<10K": 1e4, "10K<n<100K": 1e5, "100K<n<1M": 1e6, "1M<n<10M": 1e7}


def write_card(
    composites: CompositeDataset, folder: Path, count: int, layout: str, bits: int = 16
) -> None:
    """Describe `count` written composites in `folder`/README.md, unless there is such a file.

    `layout` is FOLDERS or SHARDS, `bits` those of the depth files.
    """
    catalogue = composites.catalogue
    split = composites.backgrounds or "train"
    known = {"z_near": catalogue.z_near, "camera": CAMERA}
    text = CARD.format(
        name=json.dumps(f"{catalogue.name} ({composites.backgrounds or 'all'})"),
        size=next((size for size, most in SIZES.items() if count < most), "n>1T"),
        files=TARS.format(split=split) if layout == SHARDS else "",
        count=count, canvas=composites.canvas, catalogue=catalogue.name, layout=layout,
        bits=bits, white=2**bits - 1, scale=METRIC.format(**known) if catalogue.metric else FREE,
    )  # fmt: skip
    if not (folder / "README.md").exists():
        write_whole(folder / "README.md", text.encode())
