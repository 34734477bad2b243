"""A posable dog mesh: anatomy (build), pose, and the ground under its paws. Lengths in metres, angles in degrees.

The mesh, its skeleton and skin weights are the dog of dm_control's control suite (Copyright The dm_control Authors, Apache-2.0),
read with MuJoCo; nothing of it is stored in this project. Axes: x is forward, y is the dog's left, z is up.

A leg is described by the direction of each of its segments, as the angle from straight down towards the tail (so -90 points
forward), in the world: that is how one reads a photograph, and it needs no knowledge of the joints' signs and zeros.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

os.environ.setdefault(
    "MUJOCO_GL", "disable"
)  # only kinematics are needed; MuJoCo would look for a display otherwise
import mujoco

HIND, FORE = (
    ("upper_leg", "lower_leg", "foot", "toe"),
    ("scapula", "upper_arm", "lower_arm", "hand", "finger"),
)
HIND_JOINTS, FORE_JOINTS = (
    ("hip_{}_extend", "knee_{}", "ankle_{}", "toe_{}"),
    ("scapula_{}_extend", "shoulder_{}_extend", "elbow_{}", "wrist_{}", "finger_{}"),
)
HIND_SIGN, FORE_SIGN = (1, -1, 1, 1), (1, 1, 1, -1, 1)  # of each joint's axis along +y
HIND_REST, FORE_REST = (
    (8, 52, 7, 0),
    (-30, 19, -1, -18, 0),
)  # the segments' directions when all joints are at zero
NECK = ("C_7_extend", "C_5_extend", "C_3_extend", "C_1_extend")
EAR_BASE, EAR_TIP = (
    np.array([0.290, 0.058, 0.716]),
    np.array([0.2987, 0.0855, 0.8068]),
)  # left ear in the rest mesh
EYE, EYE_RADIUS = np.array([0.3585, 0.0255, 0.7045]), 0.0128  # left eye in the rest mesh
# How ears fall: degrees of the bend, where along the ear it starts and ends, degrees the ear turns about itself, and towards where it
# falls, in degrees from sideways to forward.
EAR_SETS = {
    "prick": (0, 0.0, 1.0, 0, 0),
    "half": (145, 0.35, 0.75, 25, 55),
    "hang": (165, 0.0, 0.38, 72, 12),
}
PAW_FUR = 0.003  # metres the smoothed toes are inflated by
MUZZLE_ROOT = 0.375  # x in the rest mesh where the muzzle leaves the forehead
WITHERS = np.array([0.10, 0.0, 0.60])  # top of the shoulders in the rest mesh
REGIONS = {
    "head": ("skull", "jaw"),
    "neck": ("C_",),
    "trunk": ("torso", "L_", "pelvis", "scapula"),
    "tail": ("Ca_",),
    "arm": ("upper_arm",),
    "thigh": ("upper_leg",),
    "shank": ("lower_arm", "lower_leg"),
    "paw": ("hand", "finger", "foot", "toe"),
}


@dataclass(frozen=True)
class Build:
    """A dog's anatomy: shoulder height in metres, then factors of the lean, prick-eared dog of the mesh."""

    height: float = 0.55
    leg: float = 0.95
    bone: float = 1.15  # thickness of the legs
    girth: float = 1.15
    tuck: float = 1.2  # depth of the loins: 1 is a greyhound's
    trunk: float = 0.95
    neck: float = 0.78
    head: float = 1.2
    muzzle: float = 0.9  # length of the muzzle
    muzzle_depth: float = 1.1
    ear: float = 1.0
    ear_width: float = 1.0
    ear_set: str = "prick"  # or "half" (the tip falls forward) or "hang"
    tail: float = 1.0
    tail_thick: float = 1.3


@dataclass(frozen=True)
class Pose:
    """One pose; see the module's docstring for the legs' angles. `planted` legs are bent until their paws touch the ground."""

    hind: tuple[tuple[float, ...], tuple[float, ...]] = (
        (-18, 42, 2, 0),
        (-18, 42, 2, 0),
    )  # left, right: thigh, shank, foot, toes
    fore: tuple[tuple[float, ...], tuple[float, ...]] = (
        (-30, 20, -1, -14, 0),
        (-30, 20, -1, -14, 0),
    )  # shoulder blade ... toes
    spread: tuple[float, float, float, float] = (
        0,
        0,
        0,
        0,
    )  # outwards: hind left, hind right, fore left, fore right
    planted: str = "LRlr"  # hind left and right, fore left and right
    pitch: float = 0.0  # of the trunk, nose down
    roll: float = 0.0
    level: bool = True  # tilt the trunk until fore and hind parts touch the ground
    loin: float = 0.0  # arch of the back; negative tucks the pelvis under
    sway: float = 0.0  # of the back, sideways
    neck: tuple[float, float, float, float] = (
        0,
        0,
        0,
        0,
    )  # from the shoulders to the head, nose down
    nod: float = 0.0  # head on neck, nose up
    turn: float = 0.0  # of the head to the left
    jaw: float = -22.0  # -22 closed, 5 panting
    tail: tuple[float, float, float] = (
        0,
        0,
        0,
    )  # lift at root, middle and tip, a joint (eleven of them)
    wag: float = 0.0  # a joint (ten of them)
    likely: float = field(default=1.0, compare=False)  # how often it is drawn


STAND = Pose(neck=(6, 4, 0, -4), tail=(3, 2, 1), likely=2)
POSES: dict[str, Pose] = {
    "stand": STAND,
    "alert": replace(
        STAND,
        neck=(-10, -4, 2, 8),
        nod=6,
        tail=(9, 7, 3),
        hind=((-10, 46, 3, 0), (-20, 40, 0, 0)),
        likely=1,
    ),
    "look_away": replace(STAND, turn=60, neck=(4, 2, 0, 0), tail=(-2, 2, 2), sway=3),
    "look_back": replace(
        STAND, turn=-65, sway=-4, neck=(8, 4, 0, -2), tail=(6, 5, 2), jaw=2, likely=1
    ),
    "walk": Pose(
        hind=((-38, 30, -12, 0), (0, 56, 20, 12)),
        fore=((-20, 38, 14, 4, 18), (-40, 2, -22, -24, -5)),
        planted="LRlr",
        neck=(16, 8, -4, -10),
        tail=(2, 3, 3),
        wag=2,
        likely=2,
    ),
    "trot": Pose(
        hind=((-42, 44, 10, 25), (4, 58, 26, 24)),
        fore=((-38, -4, -28, -30, -5), (-20, 30, -30, 70, 80)),
        planted="Rl",
        neck=(20, 8, -4, -12),
        tail=(6, 6, 4),
        jaw=2,
        wag=-2,
        likely=2,
    ),
    "gallop": Pose(
        hind=((20, 66, 40, 40), (10, 62, 34, 30)),
        fore=((-52, -40, -62, -64, -40), (-46, -28, -48, -52, -30)),
        planted="",
        level=False,
        pitch=-3,
        loin=10,
        neck=(30, 10, -8, -24),
        tail=(8, 4, 0),
        jaw=4,
    ),
    "gather": Pose(
        hind=((-62, 14, -40, -5), (-50, 24, -26, -5)),
        fore=((-18, 50, -20, 60, 90), (-14, 48, 6, 80, 95)),
        planted="",
        level=False,
        pitch=4,
        loin=-24,
        neck=(30, 10, -4, -24),
        tail=(4, 4, 2),
        jaw=4,
    ),
    "sit": Pose(
        hind=((-72, 66, -84, 0), (-72, 66, -84, 0)),
        fore=((-46, 14, 2, -14, 0), (-46, 14, 2, -14, 0)),
        spread=(14, 14, 0, 0),
        planted="",
        pitch=-46,
        loin=-14,
        neck=(10, 10, 8, 18),
        tail=(7, 6, 0),
        likely=2,
    ),
    "lie": Pose(
        hind=((-72, 80, -86, 0), (-72, 80, -86, 0)),
        fore=((-20, 62, -86, -86, 0), (-20, 62, -86, -86, 0)),
        spread=(22, 22, 2, 2),
        planted="",
        pitch=-6,
        loin=-6,
        neck=(4, 4, 2, -4),
        tail=(-2, 4, 3),
        wag=5,
        likely=2,
    ),
    "side": Pose(
        hind=((-24, 36, 6, 30), (-42, 40, -6, 20)),
        fore=((-34, 6, -14, 0, 20), (-40, -4, -34, -20, 10)),
        spread=(-8, 3, -8, 3),
        planted="",
        level=False,
        roll=90,
        neck=(24, 8, 0, -10),
        turn=-8,
        tail=(0, 1, 0),
        wag=-2,
    ),
    "bow": Pose(
        hind=((-14, 44, 4, 0), (-20, 40, 0, 0)),
        fore=((-46, 34, -78, -84, 0), (-48, 30, -80, -86, 0)),
        planted="LR",
        pitch=24,
        loin=14,
        neck=(-14, -8, -4, 4),
        nod=14,
        tail=(13, 10, 4),
        jaw=2,
    ),
    "sniff": Pose(
        hind=((-24, 40, 0, 0), (-6, 50, 6, 4)),
        fore=((-36, 42, -14, -18, 0), (-48, 16, -34, -30, 0)),
        pitch=10,
        neck=(50, 40, 8, -14),
        nod=10,
        tail=(5, 4, 2),
        likely=2,
    ),
}


@dataclass(frozen=True)
class Anatomy:
    """The rest mesh: vertices (V, 3), triangles (F, 3), skin weights (V, B) of the bones named `bones`, and what to know of each vertex."""

    model: mujoco.MjModel
    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    bones: tuple[str, ...]
    bone_ids: np.ndarray
    origins: np.ndarray  # (B, 3): the bones' positions in the rest pose
    normals: np.ndarray
    regions: dict[str, np.ndarray]  # (V,) each, summing to one
    inside: np.ndarray  # (V,) true in the mouth
    toes: np.ndarray  # (V,) weight of the toes


@functools.cache
def anatomy() -> Anatomy:
    """Read the dog; its seams, where texture islands meet and vertices are doubled, are merged."""
    folder = Path(importlib.util.find_spec("dm_control").origin).parent / "suite"
    model = mujoco.MjModel.from_xml_path(str(folder / "dog.xml"))
    raw, count = model.skin_vert, len(model.skin_vert)
    weights = np.zeros((count, model.nskinbone))
    for bone, (start, number) in enumerate(
        zip(model.skin_bonevertadr, model.skin_bonevertnum, strict=True)
    ):
        weights[model.skin_bonevertid[start : start + number], bone] = model.skin_bonevertweight[
            start : start + number
        ]
    _, first, inverse = np.unique(np.round(raw, 5), axis=0, return_index=True, return_inverse=True)
    vertices, faces, weights = (
        raw[first].astype(float),
        inverse.ravel()[model.skin_face],
        weights[first],
    )
    bones = tuple(model.body(b).name for b in model.skin_bonebodyid)
    regions = {
        name: sum(weights[:, i] for i, b in enumerate(bones) if b.startswith(starts))
        for name, starts in REGIONS.items()
    }
    normals = vertex_normals(vertices, faces)
    inside = _inside(vertices, faces, normals, regions["head"] > 0.5)
    toes = sum(weights[:, i] for i, b in enumerate(bones) if b.startswith(("toe", "finger")))
    origins = model.skin_bonebindpos.astype(float)
    return Anatomy(
        model,
        vertices,
        faces,
        weights,
        bones,
        model.skin_bonebodyid,
        origins,
        normals,
        regions,
        inside,
        toes,
    )


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3), weighted by the triangles' areas."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    cross, total = np.cross(b - a, c - a), np.zeros_like(vertices)
    for i in range(3):
        np.add.at(total, faces[:, i], cross)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def _inside(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, head: np.ndarray
) -> np.ndarray:
    """Vertices of the mouth's lining: in the rest pose the mouth is open, and what they face is the mouth's other side."""
    tree = BVHTree.FromPolygons(vertices.tolist(), faces.tolist())
    inside = np.zeros(len(vertices), bool)
    for i in np.flatnonzero(head & (vertices[:, 2] < 0.675) & (vertices[:, 0] > 0.34)):
        hit = tree.ray_cast(Vector(vertices[i] + 5e-4 * normals[i]), Vector(normals[i]), 0.06)
        inside[i] = hit[0] is not None
    return inside


def smoothstep(x: np.ndarray | float, low: float, high: float) -> np.ndarray:
    t = np.clip((np.asarray(x, float) - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def ear_place(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far up its ear (0 base, 1 tip) each rest vertex is, and how much (0..1) it belongs to one."""
    side = np.abs(vertices) * [0, 1, 0] + vertices * [1, 0, 1]
    axis = EAR_TIP - EAR_BASE
    along = (side - EAR_BASE) @ axis / (axis @ axis)
    near = (
        smoothstep(side[:, 1], 0.040, 0.052) * smoothstep(along, -0.05, 0.15) * (side[:, 0] < 0.335)
    )
    return along, near


def _shaped(build: Build) -> np.ndarray:
    """The rest mesh with this build's muzzle and ears (what bones cannot do)."""
    dog = anatomy()
    vertices, head = dog.vertices.copy(), dog.regions["head"]
    front = smoothstep(vertices[:, 0], MUZZLE_ROOT - 0.02, MUZZLE_ROOT + 0.03) * head
    vertices[:, 0] += (build.muzzle - 1) * np.maximum(vertices[:, 0] - MUZZLE_ROOT, 0) * head
    vertices[:, 1] *= 1 + front * (build.muzzle_depth - 1)
    vertices[:, 2] += front * (build.muzzle_depth - 1) * (vertices[:, 2] - 0.665)
    paws = dog.toes[:, None]
    vertices += paws * (_webbed(vertices, dog.faces) + PAW_FUR * dog.normals - vertices)
    along, near = ear_place(dog.vertices)
    for sign in (1, -1):
        mine = np.flatnonzero((near > 0) & (np.sign(dog.vertices[:, 1]) == sign))
        vertices[mine] += near[mine, None] * (
            _bent_ear(vertices[mine] * [1, sign, 1], along[mine], build) * [1, sign, 1]
            - vertices[mine]
        )
    return vertices


def _webbed(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The mesh smoothed, which fills the gaps between the toes: they are bare in the mesh, and a dog's are full of hair."""
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    count = np.bincount(a, minlength=len(vertices))[:, None]
    for _ in range(8):
        total = np.stack([np.bincount(a, vertices[b, i], len(vertices)) for i in range(3)], 1)
        vertices = 0.4 * vertices + 0.6 * total / np.maximum(count, 1)
    return vertices


def _bent_ear(points: np.ndarray, along: np.ndarray, build: Build) -> np.ndarray:
    """A left ear's points, scaled, then bent towards a side over a part of its length, and turned so that it lies against the head."""
    fold, start, end, twist, towards = EAR_SETS[build.ear_set]
    side, axis = (
        np.array([np.sin(np.radians(towards)), np.cos(np.radians(towards)), 0]),
        EAR_TIP - EAR_BASE,
    )
    across = (points - EAR_BASE - np.outer(along, axis)) * [1, build.ear_width, 1]
    steps = np.linspace(0, 1.2, 61)
    bend, turn = (
        np.radians(fold) * smoothstep(steps, start, end),
        np.radians(twist) * smoothstep(steps, 0, 0.4),
    )
    # The ear's middle line: upright (with the rest ear's lean) first, then along the bend.
    lean = (axis * build.ear)[None] - [0, 0, axis[2] * build.ear]
    path = (
        axis[2] * build.ear * (np.cos(bend)[:, None] * [0, 0, 1] + np.sin(bend)[:, None] * side)
        + np.cos(bend / 2)[:, None] ** 2 * lean
    )
    line = np.concatenate([np.zeros((1, 3)), np.cumsum(path[:-1], 0) * steps[1]])
    centre = np.stack([np.interp(along, steps, line[:, i]) for i in range(3)], 1)
    bend, turn = np.interp(along, steps, bend), np.interp(along, steps, turn)
    x, y = across[:, 0], across[:, 1]
    across = np.stack(
        [x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), across[:, 2]], 1
    )
    level, up = across @ side, across[:, 2]
    moved = np.outer(level * np.cos(bend) + up * np.sin(bend) - level, side)
    moved[:, 2] += up * np.cos(bend) - level * np.sin(bend) - up
    return EAR_BASE + centre + np.minimum(along, 0)[:, None] * axis + across + moved


def _stretch(direction: np.ndarray, length: float, thickness: float) -> np.ndarray:
    unit = direction / np.linalg.norm(direction)
    return thickness * np.eye(3) + (length - thickness) * np.outer(unit, unit)


def _bone_scales(build: Build) -> dict[str, np.ndarray]:
    """A (3, 3) scale for each body of the model."""
    model, scales = anatomy().model, {}
    for index in range(model.nbody):
        name = model.body(index).name
        kind = name[:-2] if name.endswith(("_L", "_R")) else name
        if kind in ("skull", "jaw"):
            scale = build.head * np.eye(3)
        elif name.startswith("C_"):
            scale = _stretch(np.array([0.25, 0, 0.97]), build.neck, 0.5 + 0.5 * build.girth)
        elif name.startswith("Ca_"):
            scale = _stretch(np.array([-0.9, 0, -0.4]), build.tail, build.tail_thick)
        elif name.startswith("L_"):
            scale = np.diag([build.trunk, build.girth, build.girth * build.tuck])
        elif kind in ("torso", "pelvis", "scapula"):
            scale = np.diag(
                [build.trunk if kind == "torso" else 1.0, build.girth, 0.4 + 0.6 * build.girth]
            )
        elif kind in ("upper_leg", "upper_arm"):
            scale = _stretch(np.array([0.0, 0, -1]), build.leg, 0.5 * (build.bone + build.girth))
        elif kind in ("lower_leg", "lower_arm"):
            scale = _stretch(
                np.array([-0.79, 0, -0.61]) if kind == "lower_leg" else np.array([0.0, 0, -1]),
                build.leg,
                build.bone,
            )
        elif kind == "foot":
            scale = _stretch(np.array([-0.1, 0, -1]), build.leg, build.bone)
        else:
            scale = build.bone * np.eye(3)
        scales[name] = scale
    return scales


class Skeleton:
    """A dog of one build whose joints can be set, as plain linear blend skinning with a scale for each bone."""

    def __init__(self, build: Build):
        dog, self.build = anatomy(), build
        self.model = dog.model
        self.data = mujoco.MjData(self.model)
        self.rest = _shaped(build)
        self.scales = _bone_scales(build)
        self.body_pos, self.jnt_pos = self.model.body_pos.copy(), self.model.jnt_pos.copy()
        for index in range(1, self.model.nbody):
            parent = self.model.body(self.model.body_parentid[index]).name
            if parent in self.scales:
                self.body_pos[index] = self.scales[parent] @ self.body_pos[index]
        for joint in range(self.model.njnt):
            self.jnt_pos[joint] = (
                self.scales[self.model.body(self.model.jnt_bodyid[joint]).name]
                @ self.jnt_pos[joint]
            )
        self.bone_scale = np.stack([self.scales[name] for name in dog.bones])

    def set(self, angles: dict[str, float], pitch: float, roll: float) -> None:
        """Joint angles, and the trunk's tilt."""
        model, data = self.model, self.data
        saved = model.body_pos.copy(), model.jnt_pos.copy()
        model.body_pos[:], model.jnt_pos[:] = self.body_pos, self.jnt_pos
        data.qpos[:] = model.qpos0
        half_pitch, half_roll = np.radians(pitch) / 2, np.radians(roll) / 2
        tilt = np.zeros(4)
        mujoco.mju_mulQuat(
            tilt,
            np.array([np.cos(half_roll), np.sin(half_roll), 0, 0]),
            np.array([np.cos(half_pitch), 0, np.sin(half_pitch), 0]),
        )
        data.qpos[3:7] = tilt
        for name, value in angles.items():
            data.qpos[model.jnt_qposadr[model.joint(name).id]] = np.radians(value)
        mujoco.mj_kinematics(model, data)
        model.body_pos[:], model.jnt_pos[:] = saved

    def place(self, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Points of the (shaped) rest mesh, moved with the bones."""
        dog, data = anatomy(), self.data
        turn = data.xmat[dog.bone_ids].reshape(-1, 3, 3) @ self.bone_scale
        shift = data.xpos[dog.bone_ids] - np.einsum("bij,bj->bi", turn, dog.origins)
        mixed = weights @ np.concatenate([turn.reshape(-1, 9), shift], 1)
        return np.einsum("vij,vj->vi", mixed[:, :9].reshape(-1, 3, 3), points) + mixed[:, 9:]

    def vertices(self, where: np.ndarray | slice = slice(None)) -> np.ndarray:
        return self.place(self.rest[where], anatomy().weights[where])


def _joint_angles(pose: Pose, pitch: float, bend: dict[str, float]) -> dict[str, float]:
    """All joint angles; `bend` folds a planted leg (by its letter) by that many degrees at each of its two long segments."""
    angles = {"atlas": pose.nod, "mandible": pose.jaw}
    angles |= dict(zip(NECK, pose.neck, strict=True))
    angles |= {f"L_{i}_extend": pose.loin / 4 for i in (1, 3, 5, 7)} | {
        f"L_{i}_bend": pose.sway for i in (1, 3, 5, 7)
    }
    angles |= {
        "C_7_bend": 0.22 * pose.turn,
        "C_4_twist": 0.36 * pose.turn,
        "C_2_twist": 0.36 * pose.turn,
        "C_1_bend": 0.1 * pose.turn,
    }
    angles |= {
        f"Ca_{i}_extend": float(np.interp(i, [1, 9, 21], pose.tail)) for i in range(1, 22, 2)
    }
    angles |= {f"Ca_{i}_bend": pose.wag for i in range(2, 21, 2)}
    for side, hind, letter in zip("LR", pose.hind, "LR", strict=True):
        fold = bend.get(letter, 0.0)
        angles |= _leg(
            HIND_JOINTS,
            HIND_SIGN,
            HIND_REST,
            (hind[0] - fold, hind[1] + fold, *hind[2:]),
            pitch + pose.loin,
            side,
        )
    for side, fore, letter in zip("LR", pose.fore, "lr", strict=True):
        fold = bend.get(letter, 0.0)
        angles |= _leg(
            FORE_JOINTS,
            FORE_SIGN,
            FORE_REST,
            (fore[0], fore[1] + fold, fore[2] - fold, fore[3] - fold / 2, fore[4]),
            pitch,
            side,
        )
    names = ("hip_L_abduct", "hip_R_abduct", "scapula_L_abduct", "scapula_R_abduct")
    return angles | dict(zip(names, pose.spread, strict=True))


def _leg(
    joints: tuple[str, ...],
    signs: tuple[int, ...],
    rest: tuple[float, ...],
    wanted: tuple[float, ...],
    base: float,
    side: str,
) -> dict[str, float]:
    angles = {}
    for name, sign, zero, direction in zip(joints, signs, rest, wanted, strict=True):
        turn = direction - zero
        angles[name.format(side)] = sign * (turn - base)
        base = turn
    return angles


def _part(prefixes: tuple[str, ...], side: str = "") -> np.ndarray:
    dog = anatomy()
    bones = [i for i, b in enumerate(dog.bones) if b.startswith(prefixes) and b.endswith(side)]
    return np.flatnonzero(dog.weights[:, bones].sum(1) > 0.5)


@functools.cache
def _parts() -> dict[str, np.ndarray]:
    paws = {
        "L": _part(("toe", "foot"), "L"),
        "R": _part(("toe", "foot"), "R"),
        "l": _part(("finger", "hand"), "L"),
        "r": _part(("finger", "hand"), "R"),
    }
    return paws | {"fore": _part(FORE), "hind": _part((*HIND, "pelvis"))}


def _settle(skeleton: Skeleton, pose: Pose) -> None:
    """Put the skeleton in the pose: tilt it until fore and hind touch the ground alike, then fold the longer of its planted legs."""
    parts, pitch = _parts(), pose.pitch
    skeleton.set(_joint_angles(pose, pitch, {}), pitch, pose.roll)
    for _ in range(4 if pose.level else 0):
        fore, hind = (
            min(skeleton.vertices(parts[k]), key=lambda p: p[2]) for k in ("fore", "hind")
        )
        pitch += float(np.degrees(np.arctan2(fore[2] - hind[2], fore[0] - hind[0])))
        skeleton.set(_joint_angles(pose, pitch, {}), pitch, pose.roll)
    if not pose.planted:
        return
    ground, bend = max(skeleton.vertices(parts[leg])[:, 2].min() for leg in pose.planted), {}
    for leg in pose.planted:
        low, high = 0.0, 45.0
        for _ in range(9):
            bend[leg] = (low + high) / 2
            skeleton.set(_joint_angles(pose, pitch, bend), pitch, pose.roll)
            low, high = (
                (bend[leg], high)
                if skeleton.vertices(parts[leg])[:, 2].min() < ground
                else (low, bend[leg])
            )


@functools.lru_cache(maxsize=8)
def _skeleton(build: Build) -> tuple[Skeleton, float]:
    """The build's skeleton and the factor that brings its shoulders to the wanted height."""
    skeleton, dog = Skeleton(build), anatomy()
    _settle(skeleton, STAND)
    withers = int(np.argmin(np.linalg.norm(dog.vertices - WITHERS, axis=1)))
    posed = skeleton.vertices()
    return skeleton, build.height / float(posed[withers, 2] - posed[:, 2].min())


def posed_mesh(pose: Pose, build: Build) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3) in metres with the lowest at z = 0 and the trunk over the origin, faces (F, 3), and eyes (2, 4): centre, radius."""
    dog = anatomy()
    skeleton, factor = _skeleton(build)
    _settle(skeleton, pose)
    vertices = skeleton.vertices() * factor
    skull = np.zeros((2, len(dog.bones)))
    skull[:, dog.bones.index("skull")] = 1
    eyes = skeleton.place(np.stack([EYE, EYE * [1, -1, 1]]), skull) * factor
    trunk, tail = vertices[dog.regions["trunk"] > 0.5], dog.regions["tail"] > 0.5
    shift = np.array([*(trunk.min(0) + trunk.max(0))[:2] / 2, vertices[~tail, 2].min()])
    vertices -= shift
    vertices[tail, 2] = np.maximum(
        vertices[tail, 2], 0.1 * vertices[tail, 2]
    )  # a tail lies on the ground, not in it
    return (
        vertices,
        dog.faces,
        np.column_stack([eyes - shift, np.full(2, EYE_RADIUS * factor * build.head)]),
    )


def jittered(pose: Pose, rng: np.random.Generator) -> Pose:
    """The pose as another dog, or the same one a second later, would take it."""
    legs = tuple(
        tuple(a + rng.normal(0, 3) for a in leg[:-1]) + leg[-1:] for leg in (*pose.hind, *pose.fore)
    )
    return replace(
        pose,
        hind=legs[:2],
        fore=legs[2:],
        neck=tuple(a + rng.normal(0, 3) for a in pose.neck),
        nod=pose.nod + rng.normal(0, 3),
        turn=(pose.turn + rng.normal(0, 9)) * float(rng.choice([-1, 1])),
        sway=pose.sway + rng.normal(0, 1),
        loin=pose.loin + rng.normal(0, 2),
        jaw=float(rng.uniform(0, 6)) if pose.jaw > 0 or rng.random() < 0.2 else pose.jaw,
        tail=tuple(a + rng.normal(0, 2.5) for a in pose.tail),
        wag=pose.wag + rng.normal(0, 2.5),
    )
