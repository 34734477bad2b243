"""What the park's two renderers share: Cycles settings, the light, reading passes, encoding files.

Runs under Blender's Python module (`pip install bpy OpenEXR`, see the `render` extra). Nobody needs it to use the project.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
import os
import tempfile
from pathlib import Path

import bpy
import cv2
import numpy as np
import OpenEXR

DEPTH_NEAR, DEPTH_STEP = (
    0.5,
    0.008,
)  # z = NEAR * exp(STEP * (v - 1)): 0.4 % error at most, 0.5 m to 1,000 m in 950 levels
RELIEF_STEP, RELIEF_ZERO = (
    0.01,
    128,
)  # a cut-out's depth relative to its contact point: centimetres, in 8 bits
HEADER = {
    "name": "park",
    "licence": "MIT (rendered for this project; dog mesh: dm_control, Apache-2.0)",
    "z_near": 1.5,  # metres: depth 1.0 of the data contract
    "depth_encoding": {"kind": "log", "near": DEPTH_NEAR, "step": DEPTH_STEP},
    "relief_encoding": {"zero": RELIEF_ZERO, "step": RELIEF_STEP},
}
COLOUR_QUALITY = 93  # WebP; below 90 the grass loses its blades


def clear() -> bpy.types.Scene:
    """An empty Blender file with Cycles on the CPU, denoised, AgX view; returns its scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 6
    scene.cycles.transparent_max_bounces = 8
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.render.use_persistent_data = False
    scene.view_settings.view_transform = "AgX"
    layer = bpy.context.view_layer
    layer.use_pass_z = layer.use_pass_object_index = True
    return scene


def add_sky(
    rng: np.random.Generator,
    elevation: float,
    azimuth: float,
    overcast: float = 0.0,
    clouds: float = 0.3,
) -> None:
    """World light. Angles in degrees (azimuth 0 is +Y, clockwise); `overcast` 0 is a clear sky, 1 a closed one."""
    scene = bpy.context.scene
    world = scene.world or bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    nodes.clear()
    out, back = nodes.new("ShaderNodeOutputWorld"), nodes.new("ShaderNodeBackground")
    sky = nodes.new("ShaderNodeTexSky")
    sky.sky_type = "MULTIPLE_SCATTERING"
    sky.sun_elevation, sky.sun_rotation = math.radians(elevation), math.radians(azimuth)
    sky.sun_intensity = max(0.02, 1.0 - overcast) ** 2
    sky.sun_size = math.radians(0.6 + 6 * overcast)  # softer shadows behind thin cloud
    sky.aerosol_density = float(rng.uniform(0.6, 2.5))
    # Clouds: stretched noise on the view direction, white-grey, denser when overcast.
    coords, mapping, noise = (
        nodes.new("ShaderNodeTexCoord"),
        nodes.new("ShaderNodeMapping"),
        nodes.new("ShaderNodeTexNoise"),
    )
    mapping.inputs["Scale"].default_value = (1.0, 1.0, 3.0)
    mapping.inputs["Location"].default_value = tuple(rng.uniform(-50, 50, 3))
    noise.inputs["Scale"].default_value = float(rng.uniform(1.5, 4.0))
    noise.inputs["Detail"].default_value = 9.0
    ramp, mix = nodes.new("ShaderNodeValToRGB"), nodes.new("ShaderNodeMix")
    start = 0.62 - 0.25 * clouds - 0.45 * overcast
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = (
        start,
        min(1.0, start + 0.25),
    )
    mix.data_type = "RGBA"
    level = (
        float(np.interp(elevation, [2, 30, 60], [0.35, 1.0, 1.3])) * (1.0 - 0.35 * overcast) * 18.0
    )  # sunlit cloud is 2-3 times brighter than blue sky
    mix.inputs["B"].default_value = (level, level, level * 1.03, 1.0)
    links.new(coords.outputs["Generated"], mapping.inputs["Vector"])
    links.new(mapping.outputs["Vector"], noise.inputs["Vector"])
    links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], mix.inputs["Factor"])
    links.new(sky.outputs["Color"], mix.inputs["A"])
    links.new(mix.outputs["Result"], back.inputs["Color"])
    links.new(back.outputs["Background"], out.inputs["Surface"])


def render(
    width: int,
    height: int,
    samples: int,
    *,
    transparent: bool = False,
    seed: int = 0,
    key: float = 0.17,
    exposure: float | None = None,
) -> dict[str, np.ndarray | float]:
    """Render the active camera.

    The picture is exposed as a camera would: `key` is the display-linear level its geometric-mean luminance is brought to
    (over opaque pixels); a fixed `exposure` in stops overrides that, so that two shots of a pair match.

    Returns `rgb` (H, W, 3) and `alpha` (H, W) uint8 as displayed (straight, not premultiplied), `z` (H, W) float32
    metres along the viewing axis (inf where nothing is), `index` (H, W) int32, the object index of the first hit,
    and the `exposure` used.
    """
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = (
        width,
        height,
        100,
    )
    scene.cycles.samples, scene.cycles.seed = samples, seed
    scene.render.film_transparent = transparent
    settings = scene.render.image_settings
    with tempfile.TemporaryDirectory() as folder:
        settings.media_type, settings.file_format = "MULTI_LAYER_IMAGE", "OPEN_EXR_MULTILAYER"
        settings.color_depth = "32"
        scene.render.filepath = str(Path(folder) / "passes.exr")
        bpy.ops.render.render(write_still=True)
        passes = _read_exr(str(Path(folder) / "passes.exr"))
        scene.view_settings.exposure = exposure = (
            _exposure(passes, key) if exposure is None else exposure
        )
        settings.media_type, settings.file_format = "IMAGE", "PNG"
        settings.color_mode, settings.color_depth = "RGBA", "8"
        bpy.data.images["Render Result"].save_render(str(Path(folder) / "view.png"))
        view = cv2.imread(str(Path(folder) / "view.png"), cv2.IMREAD_UNCHANGED)
    z = passes["Depth.Z"].astype(np.float32)
    z[z > 1e5] = np.inf
    return {
        "rgb": cv2.cvtColor(view[..., :3], cv2.COLOR_BGR2RGB),
        "alpha": view[..., 3],
        "z": z,
        "index": np.rint(passes["Object Index.X"]).astype(np.int32),
        "exposure": exposure,
    }


def _exposure(passes: dict[str, np.ndarray], key: float) -> float:
    luminance = sum(
        weight * passes[f"Combined.{c}"]
        for c, weight in zip("RGB", (0.2126, 0.7152, 0.0722), strict=True)
    )
    solid = passes["Combined.A"] > 0.5
    level = np.exp(np.log(np.maximum(luminance[solid], 1e-6)).mean()) if solid.any() else 1.0
    return float(np.log2(key / level))


def _read_exr(path: str) -> dict[str, np.ndarray]:
    with OpenEXR.File(path, separate_channels=True) as file:
        channels = {
            name: channel.pixels for part in file.parts for name, channel in part.channels.items()
        }
    return {name.split(".", 1)[1]: pixels for name, pixels in channels.items()}


def encode_depth(z: np.ndarray) -> np.ndarray:
    """Metres to the 16-bit logarithmic code of the catalogue; 0 is infinitely far."""
    code = np.zeros(z.shape, np.uint16)
    finite = np.isfinite(z)
    code[finite] = np.clip(
        np.rint(np.log(np.maximum(z[finite], DEPTH_NEAR) / DEPTH_NEAR) / DEPTH_STEP) + 1, 1, 65535
    )
    return code


def encode_relief(z: np.ndarray, contact: float, alpha: np.ndarray) -> np.ndarray:
    """Depth of a cut-out minus that of its contact point, in centimetres around 128 (8 bits)."""
    relief = np.where(np.isfinite(z) & (alpha > 0), z - contact, 0.0)
    return np.clip(np.rint(relief / RELIEF_STEP) + RELIEF_ZERO, 0, 255).astype(np.uint8)


def save(path: Path, picture: np.ndarray) -> None:
    """Write an image under its final name only when it is whole. RGB(A) order; WebP is lossy, PNG is not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture.ndim == 3:
        picture = cv2.cvtColor(
            picture, cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
        )
    options = (
        [cv2.IMWRITE_WEBP_QUALITY, COLOUR_QUALITY]
        if path.suffix == ".webp"
        else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    done, data = cv2.imencode(path.suffix, picture, options)
    if not done:
        raise OSError(f"{path}: OpenCV cannot encode {path.suffix}")
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_bytes(data.tobytes())
    os.replace(partial, path)


def write_sheet(tiles: list[np.ndarray], columns: int, target: Path) -> None:
    """Tiles (h, w, 3) RGB of one size as a contact sheet; WebP is written at a quality that is enough to look at."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    sheet = np.concatenate(
        [np.concatenate(tiles[k : k + columns], 1) for k in range(0, len(tiles), columns)]
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 75])


def depth_tile(path: Path) -> np.ndarray:
    """A stored depth file as a grey picture (H, W, 3), near bright, far dark."""
    code = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(float)
    near = np.where(code > 0, np.exp(-DEPTH_STEP * 0.35 * (code - 1)), 0)
    return np.repeat((255 * np.clip(1.3 * near, 0, 1)).astype(np.uint8)[..., None], 3, 2)


def read_tile(path: Path) -> np.ndarray:
    """A stored picture as RGB (H, W, 3)."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def parser(description: str, samples: int) -> argparse.ArgumentParser:
    """The options that all renderers have."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, required=True, help="folder of the catalogue")
    made.add_argument("--size", type=int, default=256, help="px a side (default: %(default)s)")
    made.add_argument(
        "--samples", type=int, default=samples, help="light paths a pixel (default: %(default)s)"
    )
    made.add_argument(
        "--contact-sheet",
        type=Path,
        help="write a contact sheet of what is there, and nothing else",
    )
    return made


def split_of(index: int) -> str:
    """The fixed split, by scene number and by dog number: of ten, seven train, one validation, two test."""
    return {7: "validation", 8: "test", 9: "test"}.get(index % 10, "train")


def record(folder: Path, kind: str, entry: dict) -> None:
    """Put `entry` (its `id` is the key) into list `kind` of `folder/catalogue.json`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".catalogue.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "catalogue.json"
        catalogue = json.loads(path.read_text(encoding="utf-8")) if path.exists() else dict(HEADER)
        entries = {e["id"]: e for e in catalogue.get(kind, [])} | {entry["id"]: entry}
        catalogue[kind] = [entries[key] for key in sorted(entries)]
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(catalogue, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)
