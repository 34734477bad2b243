"""Meshes from numpy arrays, shader building blocks, and a park's furniture: benches, lamps, fences, playground, houses.

Lengths are metres, colours linear RGB. Every `*_mesh` function returns a Blender mesh standing on z = 0, to be placed with `place`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import bpy
import numpy as np

LAWN, PATH, WATER, BED, PLANT, THING, FAR = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
)  # object indices of the render pass; 0 is the sky


class Piece(NamedTuple):
    """Part of a mesh: vertices (n, 3), faces (m, k) of one k, material slot, colour per vertex (n, 3) or None for white."""

    vertices: np.ndarray
    faces: np.ndarray
    slot: int = 0
    tint: np.ndarray | None = None


def mesh(
    name: str, pieces: list[Piece], materials: list[bpy.types.Material], smooth: bool = False
) -> bpy.types.Mesh:
    """Join pieces into one Blender mesh with a point colour attribute `tint`."""
    offsets = np.cumsum([0] + [len(p.vertices) for p in pieces])
    vertices = np.concatenate([p.vertices for p in pieces]).astype(np.float32)
    tint = np.concatenate(
        [np.ones((len(p.vertices), 3)) if p.tint is None else p.tint for p in pieces]
    )
    loops = np.concatenate(
        [(p.faces + o).ravel() for p, o in zip(pieces, offsets, strict=False)]
    ).astype(np.int32)
    sizes = np.concatenate([np.full(len(p.faces), p.faces.shape[1]) for p in pieces])
    slots = np.concatenate([np.full(len(p.faces), p.slot) for p in pieces]).astype(np.int32)
    made = bpy.data.meshes.new(name)
    made.vertices.add(len(vertices))
    made.vertices.foreach_set("co", vertices.ravel())
    made.loops.add(len(loops))
    made.loops.foreach_set("vertex_index", loops)
    made.polygons.add(len(sizes))
    made.polygons.foreach_set("loop_start", (np.cumsum(sizes) - sizes).astype(np.int32))
    made.polygons.foreach_set("material_index", slots)
    made.polygons.foreach_set("use_smooth", np.full(len(sizes), smooth))
    colour = made.attributes.new("tint", "FLOAT_COLOR", "POINT")
    colour.data.foreach_set(
        "color", np.concatenate([tint, np.ones((len(tint), 1))], 1).astype(np.float32).ravel()
    )
    for material in materials:
        made.materials.append(material)
    made.update(calc_edges=True)
    return made


def place(
    data: bpy.types.Mesh,
    index: int,
    at: tuple[float, float, float] = (0, 0, 0),
    yaw: float = 0.0,
    scale: float | tuple = 1.0,
) -> bpy.types.Object:
    """Put an object of `data` into the scene; `yaw` in radians, `index` for the object-index pass."""
    made = bpy.data.objects.new(data.name, data)
    made.location, made.rotation_euler = [float(v) for v in at], (0.0, 0.0, float(yaw))
    made.scale = scale if isinstance(scale, tuple) else (float(scale),) * 3
    made.pass_index = index
    bpy.context.collection.objects.link(made)
    return made


# --- shaders -------------------------------------------------------------------------------------------------------------------------


class Shader:
    """A material under construction."""

    haze_colour = (0.5, 0.6, 0.75)  # set per scene, in the units of its sky
    haze_length = 2000.0  # metres after which 63 % of the light is the air's; set per scene

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.tree = self.material.node_tree
        self.tree.nodes.clear()
        self.material.cycles.emission_sampling = "NONE"  # the haze emits; it must not become a lamp

    def add(
        self, kind: str, inputs: dict[str | int, Any] | None = None, **settings: Any
    ) -> bpy.types.Node:
        """A node; an input's value is a constant or another node's output."""
        made = self.tree.nodes.new("ShaderNode" + kind)
        for key, value in settings.items():
            setattr(made, key, value)
        for key, value in (inputs or {}).items():
            self._join(value, made.inputs[key])
        return made

    def _join(self, value: Any, socket: bpy.types.NodeSocket) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = (
                (*value, 1.0)
                if isinstance(value, tuple) and len(value) == 3 and socket.type == "RGBA"
                else value
            )

    def where(
        self, scale: tuple[float, float, float] = (1, 1, 1), space: str = "Object"
    ) -> bpy.types.NodeSocket:
        """Object (or Generated, UV ...) coordinates, scaled per axis."""
        return self.add(
            "Mapping", {"Vector": self.add("TexCoord").outputs[space], "Scale": scale}
        ).outputs[0]

    def noise(
        self, scale: float, detail: float = 4.0, at: bpy.types.NodeSocket | None = None
    ) -> bpy.types.NodeSocket:
        inputs = {"Vector": self.where() if at is None else at, "Scale": scale, "Detail": detail}
        return self.add("TexNoise", inputs).outputs[0]

    def ramp(
        self, factor: bpy.types.NodeSocket, low: float, high: float, first: tuple, last: tuple
    ) -> bpy.types.NodeSocket:
        """Colour `first` below `low`, `last` above `high`."""
        made = self.add("ValToRGB", {0: factor})
        for element, position, colour in zip(
            made.color_ramp.elements, (low, high), (first, last), strict=True
        ):
            element.position, element.color = position, (*colour, 1.0)
        return made.outputs[0]

    def grey(
        self, factor: bpy.types.NodeSocket, low: float, high: float, first: float, last: float
    ) -> bpy.types.NodeSocket:
        return self.ramp(factor, low, high, (first,) * 3, (last,) * 3)

    def mix(self, factor: Any, a: Any, b: Any, blend: str = "MIX") -> bpy.types.NodeSocket:
        return self.add("MixRGB", {0: factor, 1: a, 2: b}, blend_type=blend).outputs[0]

    def tint(self) -> bpy.types.NodeSocket:
        return self.add("Attribute", attribute_name="tint").outputs[0]

    def varied(self, colour: Any, hue: float = 0.03, value: float = 0.3) -> bpy.types.NodeSocket:
        """The colour shifted at random per object, so that instances of one mesh differ."""
        random = self.add("ObjectInfo").outputs["Random"]
        turn = self.add("MapRange", {0: random, 3: 0.5 - hue, 4: 0.5 + hue}).outputs[0]
        again = self.add("TexWhiteNoise", {"W": random}, noise_dimensions="1D").outputs[0]
        gain = self.add("MapRange", {0: again, 3: 1 - value, 4: 1 + value}).outputs[0]
        return self.add("HueSaturation", {"Hue": turn, "Value": gain, "Color": colour}).outputs[0]

    def bump(
        self, height: bpy.types.NodeSocket, strength: float, distance: float = 0.02
    ) -> bpy.types.NodeSocket:
        return self.add(
            "Bump", {"Height": height, "Strength": strength, "Distance": distance}
        ).outputs[0]

    def principled(
        self, colour: Any, roughness: Any = 0.7, normal: Any = None, **inputs: Any
    ) -> bpy.types.NodeSocket:
        """A Principled BSDF; further inputs by name with underscores for spaces."""
        values = {"Base Color": colour, "Roughness": roughness, "Specular IOR Level": 0.3}
        values |= {key.replace("_", " "): value for key, value in inputs.items()}
        return self.add(
            "BsdfPrincipled", values if normal is None else values | {"Normal": normal}
        ).outputs[0]

    def done(self, closure: bpy.types.NodeSocket) -> bpy.types.Material:
        """Veil the surface by distance with the air's light (for the camera only) and finish the material."""
        far = self.add("CameraData").outputs["View Distance"]
        clear = self.add(
            "Math", {0: float(np.exp(-1.0 / self.haze_length)), 1: far}, operation="POWER"
        ).outputs[0]
        seen = self.add("LightPath").outputs["Is Camera Ray"]
        veil = self.add(
            "Math",
            {0: self.add("Math", {0: 1.0, 1: clear}, operation="SUBTRACT").outputs[0], 1: seen},
            operation="MULTIPLY",
        )
        air = self.add("Emission", {"Color": self.haze_colour, "Strength": 1.0}).outputs[0]
        mixed = self.add("MixShader", {0: veil.outputs[0], 1: closure, 2: air}).outputs[0]
        self.add("OutputMaterial", {"Surface": mixed})
        return self.material


def painted(
    name: str, colour: tuple[float, float, float], roughness: float = 0.5, metallic: float = 0.0
) -> bpy.types.Material:
    """Paint or metal that has been outdoors: dirt in patches, small differences per object."""
    shader = Shader(name)
    dirt = shader.grey(shader.noise(6.0, 8.0), 0.35, 0.7, 0.45, 1.1)
    return shader.done(
        shader.principled(shader.mix(1.0, colour, dirt, "MULTIPLY"), roughness, Metallic=metallic)
    )


def timber(name: str, colour: tuple[float, float, float]) -> bpy.types.Material:
    """Weathered wood with grain along the longest run of the noise."""
    shader = Shader(name)
    grain = shader.noise(3.0, 8.0, shader.where((2.0, 18.0, 18.0)))
    board = shader.grey(
        shader.add("NewGeometry").outputs["Random Per Island"], 0.0, 1.0, 0.75, 1.15
    )
    shade = shader.mix(1.0, shader.grey(grain, 0.3, 0.75, 0.4, 1.25), board, "MULTIPLY")
    return shader.done(
        shader.principled(
            shader.mix(1.0, colour, shade, "MULTIPLY"), 0.75, shader.bump(grain, 0.4, 0.005)
        )
    )


def masonry(name: str, colour: tuple[float, float, float], size: float) -> bpy.types.Material:
    """Brick courses (or roof tiles) of height `size`, each brick of its own shade."""
    shader = Shader(name)
    darker, mortar = tuple(0.6 * c for c in colour), tuple(0.4 * c + 0.15 for c in colour)
    # Walls are upright and along x or y: x + y runs along either of them.
    split = shader.add("SeparateXYZ", {0: shader.where()})
    run = shader.add("Math", {0: split.outputs[0], 1: split.outputs[1]}, operation="ADD").outputs[0]
    at = shader.add("CombineXYZ", {0: run, 1: split.outputs[2]}).outputs[0]
    inputs = {
        "Vector": at,
        "Color1": colour,
        "Color2": darker,
        "Mortar": mortar,
        "Scale": 1.0,
        "Mortar Size": 0.06 * size,
    }
    brick = shader.add("TexBrick", inputs | {"Brick Width": 3 * size, "Row Height": size}).outputs[
        0
    ]
    weather = shader.grey(shader.noise(0.7, 6.0), 0.3, 0.7, 0.65, 1.15)
    return shader.done(shader.principled(shader.mix(1.0, brick, weather, "MULTIPLY"), 0.85))


# --- shapes --------------------------------------------------------------------------------------------------------------------------

_CORNERS = np.array(
    [
        [x, y, z]
        for z in (-0.5, 0.5)
        for x, y in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    ]
)
_SIDES = np.array(
    [[3, 2, 1, 0], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
)


def box(centre: tuple, size: tuple, slot: int = 0, lean: float = 0.0, taper: float = 1.0) -> Piece:
    """A box; `lean` turns it about x (radians), `taper` scales its top."""
    corners = _CORNERS * size
    corners[4:, :2] *= taper
    c, s = np.cos(lean), np.sin(lean)
    return Piece(corners @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) + centre, _SIDES, slot)


def tube(
    lines: np.ndarray, radii: np.ndarray, sides: int, slot: int = 0, tint: np.ndarray | None = None
) -> Piece:
    """Round tubes along polylines (n, k, 3) with radii (n, k), open at the ends."""
    count, steps = radii.shape
    along = np.gradient(lines, axis=1)
    along /= np.linalg.norm(along, axis=2, keepdims=True) + 1e-9
    helper = np.where(np.abs(along[..., 2:]) > 0.9, np.array([1.0, 0, 0]), np.array([0, 0, 1.0]))
    # One helper for a whole line, or its rings would twist where the line bends past the threshold.
    across = np.cross(along, helper[:, :1])
    across /= np.linalg.norm(across, axis=2, keepdims=True) + 1e-9
    other = np.cross(along, across)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    ring = across[:, :, None] * np.cos(angle) + other[:, :, None] * np.sin(angle)
    vertices = (lines[:, :, None] + ring * radii[:, :, None, None]).reshape(-1, 3)
    base = (np.arange(count)[:, None, None] * steps + np.arange(steps - 1)[:, None]) * sides
    here, after = np.arange(sides), (np.arange(sides) + 1) % sides
    faces = np.stack(
        [base + here, base + after, base + sides + after, base + sides + here], -1
    ).reshape(-1, 4)
    return Piece(
        vertices, faces, slot, None if tint is None else np.repeat(tint.reshape(-1, 3), sides, 0)
    )


def pole(
    points: list[tuple[float, float, float]],
    radii: list[float] | float,
    slot: int = 0,
    sides: int = 10,
) -> Piece:
    widths = np.broadcast_to(radii, len(points))
    return tube(np.array([points], float), np.array([widths], float), sides, slot)


# --- furniture -----------------------------------------------------------------------------------------------------------------------

PAINTS = [
    (0.05, 0.16, 0.08),
    (0.22, 0.11, 0.05),
    (0.30, 0.20, 0.11),
    (0.35, 0.33, 0.30),
    (0.35, 0.04, 0.03),
    (0.05, 0.10, 0.25),
]
BRIGHT = [(0.6, 0.04, 0.03), (0.03, 0.14, 0.5), (0.7, 0.38, 0.02), (0.05, 0.3, 0.09)]


def bench_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A slatted park bench, 1.4-2 m wide, facing -y."""
    width, slats = rng.uniform(1.4, 2.0), int(rng.integers(3, 6))
    pieces = [
        box((0, -0.22 + 0.42 * k / (slats - 1), 0.45), (width, 0.36 / slats, 0.035))
        for k in range(slats)
    ]
    if rng.random() < 0.8:
        pieces += [
            box((0, 0.27 + 0.045 * k, 0.58 + 0.13 * k), (width, 0.03, 0.1), lean=-0.3)
            for k in range(3)
        ]
    for x in (-width / 2 + 0.15, width / 2 - 0.15):
        pieces += [box((x, y, 0.21), (0.05, 0.05, 0.44), 1) for y in (-0.2, 0.2)] + [
            box((x, 0.0, 0.42), (0.05, 0.5, 0.04), 1)
        ]
        pieces += [
            box((x, 0.32, 0.65), (0.04, 0.03, 0.5), 1, lean=-0.3),
            box((x, -0.02, 0.66), (0.05, 0.45, 0.04), 1),
        ]
        pieces += [box((x, -0.2, 0.55), (0.04, 0.04, 0.22), 1)]
    wood = timber("slats", PAINTS[rng.integers(len(PAINTS))])
    return mesh("bench", pieces, [wood, painted("iron", (0.03, 0.03, 0.03), 0.4)])


def lamp_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A lamp post of 3.2-4.5 m with a lantern."""
    top = rng.uniform(3.2, 4.5)
    pieces = [pole([(0, 0, 0), (0, 0, 0.5), (0, 0, 0.55), (0, 0, top)], [0.11, 0.10, 0.055, 0.045])]
    pieces += [
        box((0, 0, top + 0.22), (0.34, 0.34, 0.4), 1, taper=1.0),
        box((0, 0, top + 0.48), (0.46, 0.46, 0.14), taper=0.3),
    ]
    pieces += [
        box((x, y, top + 0.22), (0.03, 0.03, 0.42)) for x in (-0.17, 0.17) for y in (-0.17, 0.17)
    ]
    paint = painted(
        "lamp", [(0.02, 0.03, 0.025), (0.03, 0.07, 0.05), (0.15, 0.15, 0.15)][rng.integers(3)], 0.4
    )
    return mesh("lamp", pieces, [paint, painted("glass", (0.75, 0.72, 0.62), 0.2)])


def bin_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A litter bin, 0.9 m."""
    pieces = [
        pole(
            [(0, 0, 0.02), (0, 0, 0.85), (0, 0, 0.86), (0, 0, 0.9)],
            [0.22, 0.27, 0.29, 0.2],
            sides=14,
        )
    ]
    return mesh("bin", pieces, [painted("bin", PAINTS[rng.integers(len(PAINTS))], 0.5)])


def fence_mesh(rng: np.random.Generator, picket: bool, length: float = 2.5) -> bpy.types.Mesh:
    """One bay of a fence along x, from 0 to `length`."""
    height = rng.uniform(0.85, 1.15)
    pieces = [box((0, 0, height / 2 + 0.03), (0.1, 0.1, height + 0.06), taper=0.9)]
    rails = (0.3, 0.8) if picket else (0.35, 0.65, 0.95)
    pieces += [
        box((length / 2, 0, height * r), (length, 0.04, 0.08 if picket else 0.11)) for r in rails
    ]
    if picket:
        for x in np.arange(0.12, length - 0.02, 0.14):
            tall = height * rng.uniform(0.97, 1.0)
            pieces += [
                box((x, -0.035, tall / 2), (0.08, 0.02, tall)),
                box((x, -0.035, tall + 0.03), (0.08, 0.02, 0.06), taper=0.1),
            ]
    white = picket and rng.random() < 0.6
    material = (
        painted("fence", (0.7, 0.69, 0.65), 0.6)
        if white
        else timber("fence", PAINTS[rng.integers(1, 4)])
    )
    return mesh("fence", pieces, [material])


def slide_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A playground slide: ladder, platform with rails, chute. 3.5 m long."""
    frame = [pole([(x, y, 0), (x, y, 2.5)], 0.045) for x in (-0.35, 0.35) for y in (0, 0.7)]
    frame += [
        box((0, 0.35, 1.5), (0.75, 0.75, 0.06)),
        box((0, 0.35, 2.55), (1.0, 1.0, 0.06), 1),
        box((0, 0.35, 2.8), (0.9, 0.9, 0.45), 1, taper=0.05),
    ]
    frame += [
        box((0, 0.75 + 0.55 * (1 - k / 6), 1.5 * k / 6 + 0.1), (0.6, 0.1, 0.04)) for k in range(6)
    ]
    frame += [pole([(x, 1.3, 0), (x, 0.72, 1.6), (x, 0.72, 2.2)], 0.03) for x in (-0.32, 0.32)]
    run = np.array([(0, 1.5), (-0.4, 1.4), (-2.2, 0.4), (-2.8, 0.28)])
    for (y0, z0), (y1, z1) in zip(run[:-1], run[1:], strict=True):
        size, lean = np.hypot(y1 - y0, z1 - z0) + 0.03, np.arctan2(z1 - z0, y1 - y0)
        lean = lean if abs(lean) < np.pi / 2 else lean - np.pi * np.sign(lean)
        middle = ((y0 + y1) / 2, (z0 + z1) / 2)
        frame += [
            box((0, *middle), (0.6, size, 0.03), 2, lean),
            *(
                box((x, middle[0], middle[1] + 0.08), (0.04, size, 0.2), 1, lean)
                for x in (-0.3, 0.3)
            ),
        ]
    a, b = rng.permutation(len(BRIGHT))[:2]
    return mesh(
        "slide",
        frame,
        [
            painted("frame", BRIGHT[a]),
            painted("roof", BRIGHT[b]),
            painted("chute", (0.5, 0.5, 0.5), 0.3, 0.8),
        ],
    )


def swing_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A swing frame with two seats, 3.4 m wide and 2.3 m tall."""
    pieces = [pole([(-1.7, 0, 2.3), (1.7, 0, 2.3)], 0.05)]
    pieces += [
        pole([(x, y, 0), (x * 0.97, 0, 2.3)], 0.05) for x in (-1.7, 1.7) for y in (-0.9, 0.9)
    ]
    for x in (-0.8, 0.6):
        pieces += [pole([(x + d, 0, 2.3), (x + d, 0.05, 0.5)], 0.012, 1, 5) for d in (0, 0.4)] + [
            box((x + 0.2, 0.05, 0.48), (0.45, 0.2, 0.04), 1)
        ]
    return mesh(
        "swing",
        pieces,
        [
            painted("frame", BRIGHT[rng.integers(len(BRIGHT))]),
            painted("rubber", (0.03, 0.03, 0.03), 0.6),
        ],
    )


def table_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A picnic table with its two benches."""
    pieces = [box((0, y, 0.74), (1.8, 0.13, 0.04)) for y in np.linspace(-0.3, 0.3, 5)]
    pieces += [
        box((0, s * (0.66 + d), 0.44), (1.8, 0.13, 0.04)) for s in (-1, 1) for d in (0, 0.14)
    ]
    for x in (-0.65, 0.65):
        pieces += [
            box((x, 0, 0.4), (0.05, 1.55, 0.09)),
            *(box((x, s * 0.4, 0.37), (0.06, 0.09, 0.82), lean=s * 0.45) for s in (-1, 1)),
        ]
    return mesh("table", pieces, [timber("table", PAINTS[rng.integers(1, 4)])])


def house_mesh(rng: np.random.Generator) -> bpy.types.Mesh:
    """A house of one to three floors with a gable roof, windows, door and chimney; its front looks to -y."""
    wide, deep, floors = rng.uniform(9, 18), rng.uniform(8, 11), int(rng.integers(1, 4))
    wall, roof = 2.8 * floors + 0.4, rng.uniform(2.5, 4.5)
    x, y = wide / 2 + 0.5, deep / 2 + 0.6
    eave = wall - 0.5 * roof / y
    corners = np.array(
        [
            (-x, -y, eave),
            (x, -y, eave),
            (x, y, eave),
            (-x, y, eave),
            (-x, 0, wall + roof),
            (x, 0, wall + roof),
        ]
    )
    gable = np.array(
        [
            (s * wide / 2, d, h)
            for s in (-1, 1)
            for d, h in ((-deep / 2, wall), (deep / 2, wall), (0, wall + roof - 0.3))
        ]
    )
    pieces = [
        box((0, 0, wall / 2 - 1), (wide, deep, wall + 2)),
        Piece(gable, np.array([[0, 1, 2], [3, 4, 5]])),
    ]
    pieces += [
        Piece(corners, np.array([[0, 1, 5, 4], [2, 3, 4, 5]]), 1),
        box((wide / 4, 0.8, wall + roof), (0.9, 0.9, 2.4)),
    ]
    columns = np.linspace(-wide / 2 + 1.5, wide / 2 - 1.5, int(wide // 2.6))
    for side in (-1, 1):
        for floor in range(floors):
            for column in columns:
                at = (column, side * deep / 2, 1.7 + 2.8 * floor)
                pieces += [
                    box(at, (1.25, 0.12, 1.65), 3),
                    box((at[0], at[1] + side * 0.04, at[2]), (1.0, 0.1, 1.4), 2),
                ]
                pieces += [box((at[0], at[1] + side * 0.07, at[2]), (0.06, 0.1, 1.4), 3)]
    walls = [(0.35, 0.12, 0.07), (0.55, 0.5, 0.4), (0.62, 0.6, 0.55), (0.4, 0.3, 0.18)]
    roofs = [(0.22, 0.07, 0.04), (0.09, 0.09, 0.1), (0.16, 0.11, 0.08)]
    glass = Shader("pane")
    pane = glass.done(glass.principled((0.03, 0.04, 0.05), 0.1))
    materials = [
        masonry("wall", walls[rng.integers(len(walls))], 0.25),
        masonry("tiles", roofs[rng.integers(len(roofs))], 0.3),
        pane,
    ]
    return mesh("house", pieces, [*materials, painted("sash", (0.6, 0.6, 0.57), 0.6)])
