"""The data sheet of the embedded park: counts and statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
from report_tables import markdown_table

from eva_helpers.catalogue.catalogue import Catalogue, load_catalogue
from eva_helpers.catalogue.reading import read_background
from eva_helpers.paths import PARK


def park() -> str:
    """Counts and statistics of the embedded park, for its data sheet."""
    catalogue = load_catalogue()
    lines = views(catalogue) | objects(catalogue)
    size = sum(path.stat().st_size for path in PARK.rglob("*") if path.is_file())
    lines["size"] = f"{size / 2**20:.0f} MB"
    return markdown_table(("", ""), lines.items())


def views(catalogue: Catalogue) -> dict[str, str]:
    """Lines of the data sheet about the backgrounds."""
    scenes = catalogue.scenes
    pictures = [read_background(catalogue, scene, 64) for scene in scenes]
    photos, depths = (np.stack([picture[k] for picture in pictures]) for k in (0, 1))
    means, deviations = (shorter(f((0, 1, 2)) / 255) for f in (photos.mean, photos.std))
    return {
        "views": f"{len(scenes)} of {len({s.scene for s in scenes})} scenes "
        f"({count(s.split for s in scenes)})",
        "seasons": count(s.info["season"] for s in scenes),
        "light": count(s.info["light"] for s in scenes),
        "in sight": count(kind for s in scenes for kind in s.info["kind"]),
        "camera height, m": span([s.camera_height for s in scenes]),
        "pitch, degrees": span([s.info["pitch"] for s in scenes]),
        "focal length / width": span([s.focal / 256 for s in scenes]),
        "background, mean and std of R, G, B": f"{means}; {deviations}",
        "inverse depth, mean and std": f"{depths.mean():.3f}; {depths.std():.3f}",
    }


def objects(catalogue: Catalogue) -> dict[str, str]:
    """Lines of the data sheet about the cut-outs and the true pairs."""
    cutouts = catalogue.cutouts
    pairs = catalogue.pairs
    hidden = sum(pair.info["hidden"] > 0.05 for pair in pairs)
    return {
        "cut-outs": f"{len(cutouts)} of {len({c.object for c in cutouts})} dogs "
        f"({count(c.split for c in cutouts)})",
        "coats": count(c.info["coat"] for c in cutouts),
        "poses": count(c.info["pose"] for c in cutouts),
        "true pairs": f"{len(pairs)} in {len({p.scene for p in pairs})} views "
        f"({count(p.split for p in pairs)}), {hidden} partly hidden",
    }


def count(values: Iterable[str]) -> str:
    """Values with how often they occur, most frequent first."""
    return ", ".join(f"{value} {number}" for value, number in Counter(values).most_common())


def span(values: list[float]) -> str:
    """Range and median."""
    return f"{min(values):.2f} to {max(values):.2f}, median {np.median(values):.2f}"


def shorter(values: np.ndarray) -> str:
    """Three digits of each."""
    return ", ".join(f"{value:.3f}" for value in values)
