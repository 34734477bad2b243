"""Variety that a catalogue lacks: synthetic objects, random colours, backgrounds that move."""

import cv2
import numpy as np

SHIFT = 4  # bits after the point in OpenCV's coordinates
FINE = 0.4  # share of distractor objects with fine structure, half of them also with holes
SOFT = 0.3  # share of them whose outline is out of focus


def random_object(rng: np.random.Generator, texture: np.ndarray, side: int = 96) -> np.ndarray:
    """A synthetic distractor object, RGBA uint8 (h, w, 4), at most `side` pixels high and wide.

    One to four random shapes, some with hairs, wires or holes, filled with a part of the picture
    `texture`, uint8 (H, W, 3), or with the colours of its corners. A network trained on dogs alone
    looks for dogs instead of changes.
    """
    alpha = np.zeros((side, side), np.uint8)
    outlines = [_random_outline(rng, side) for _ in range(rng.integers(1, 5))]
    for outline in outlines:
        cv2.fillPoly(alpha, [_fixed_point(outline)], 255, cv2.LINE_AA, SHIFT)
    if rng.random() < FINE:
        _add_fine_structure(rng, alpha, outlines[0])
    if rng.random() < SOFT:
        alpha[:] = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 2.0) * side / 200)
    x, y, width, height = cv2.boundingRect(alpha)
    h, w = (max(8, round(length * rng.uniform(0.15, 0.9))) for length in texture.shape[:2])
    top = rng.integers(texture.shape[0] - h + 1)
    left = rng.integers(texture.shape[1] - w + 1)
    part = texture[top : top + h, left : left + w]
    if rng.random() < 0.35:
        part = part[:: h - 1, :: w - 1]
    rgb = cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.dstack([rgb, alpha[y : y + height, x : x + width]])


def _fixed_point(points: np.ndarray) -> np.ndarray:
    """Points (n, 2) in pixels as whole numbers of 1 / 2**SHIFT px."""
    return np.rint(points * 2**SHIFT).astype(np.int32)


def _add_fine_structure(rng: np.random.Generator, alpha: np.ndarray, outline: np.ndarray) -> None:
    """Draw hairs along `outline` or wires across `alpha` (side, side), and cut holes, in place."""
    side = len(alpha)
    lines = _hairs(rng, outline, side) if rng.random() < 0.5 else _wires(rng, side)
    width = 1 if len(lines) > 8 else int(rng.integers(1, 2 + side // 32))
    for line in lines:
        cv2.polylines(alpha, [_fixed_point(line)], False, 255, width, cv2.LINE_AA, SHIFT)
    for _ in range(rng.integers(0, 6) if rng.random() < 0.5 else 0):
        hole = (_random_outline(rng, side) - side / 2) * rng.uniform(0.05, 0.3)
        hole = hole + rng.uniform(0.2, 0.8, 2) * side
        cv2.fillPoly(alpha, [_fixed_point(hole)], 0, cv2.LINE_AA, SHIFT)


def _hairs(rng: np.random.Generator, outline: np.ndarray, side: int) -> list[np.ndarray]:
    """Bent hairs (4, 2) that start on the outline, about half of them outwards."""
    count = int(rng.integers(30, 200))
    edge = int(rng.integers(len(outline))) + rng.random(count) * rng.uniform(1, len(outline))
    first = np.floor(edge).astype(int)
    start = outline[first % len(outline)]
    root = start + (outline[(first + 1) % len(outline)] - start) * (edge - first)[:, None]
    away = root - outline.mean(0) + rng.normal(0, 0.3 * side, (count, 2))
    away = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    bend = away[:, ::-1] * (1, -1) * rng.normal(0, 0.4)
    length = rng.uniform(0.02, 0.2) * side * rng.uniform(0.3, 1, (count, 1))
    steps = np.linspace(0, 1, 4)[:, None, None]
    return list((root + length * (steps * away + steps**2 * bend)).swapaxes(0, 1))


def _wires(rng: np.random.Generator, side: int) -> list[np.ndarray]:
    """One to four smooth curves, or a few dozen straight twigs that start on one of them."""
    count = int(rng.integers(1, 5))
    corners = rng.uniform(0.05, 0.95, (count, 4, 1, 2)).astype(np.float32) * side
    curves = [cv2.resize(line, (1, 32), interpolation=cv2.INTER_CUBIC)[:, 0] for line in corners]
    if rng.random() < 0.5:
        return curves
    roots = curves[0][rng.integers(0, 32, int(rng.integers(10, 60)))]
    ends = roots + rng.normal(0, 0.12 * side, roots.shape)
    return curves[:1] + list(np.stack([roots, ends], 1))


def _random_outline(rng: np.random.Generator, side: int) -> np.ndarray:
    """Vertices (n, 2) of a stretched, wavy and tilted polygon in a square of `side` pixels."""
    vertices = int(rng.choice((3, 4, 4, 5, 6, 40, 40)))  # 40: smooth
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False) + rng.uniform(0, 2 * np.pi)
    waves = [
        rng.uniform(0, 0.35) / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5)
    ]
    outline = np.stack([np.cos(angle), np.sin(angle)], 1) * (1 + np.sum(waves, 0))[:, None]
    outline = outline * np.exp(rng.uniform(-1.7, -0.1, 2)) * side / 2
    tilt = rng.normal(0, 0.4)
    rotation = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return outline @ rotation + side * rng.uniform(0.3, 0.7, 2)


def random_colours(rng: np.random.Generator) -> np.ndarray:
    """A random matrix, float32 (3, 3), that mixes RGB values; brightness stays similar."""
    mix = np.eye(3) + rng.normal(0, 0.35, (3, 3))
    mix = mix / np.maximum(mix.sum(1, keepdims=True), 0.4)  # rows sum to 1
    return (mix * rng.uniform(0.6, 1.3)).astype(np.float32)


def sway(background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Leaves and grass that moved between two shots; uint8 (H, W, 3) in and out.

    In patches of the frame the texture moves by up to about 1 % of the width: a tree in the wind
    changes everywhere, without any object. (Albumentations' elastic transforms move the whole
    frame, by pixels.)
    """
    height, width = background.shape[:2]
    cells = int(rng.integers(8, 33))
    reach = rng.uniform(0.001, 0.005) * width
    patches = (rng.normal(0, 1, (4, 4, 1)) > 0).astype(np.float32)
    coarse = rng.normal(0, reach, (cells, cells, 2)).astype(np.float32)
    moves = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    shares = cv2.resize(patches, (width, height), interpolation=cv2.INTER_LINEAR)
    x = np.arange(width, dtype=np.float32) + moves[..., 0] * shares
    y = np.arange(height, dtype=np.float32)[:, None] + moves[..., 1] * shares
    return cv2.remap(background, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
