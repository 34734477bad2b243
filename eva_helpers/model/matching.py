"""Aligning the background photo with the image: exposure, colours and camera shake.

A few numbers describe what the mask should ignore: how the background's tones map to the image's,
and how the camera moved in between. Both are fitted robustly to small copies of the photos, so
that the object, which fits neither, hardly counts. There are no learned parameters, and no
gradient passes through the fit.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eva_helpers.model.shrinking import full_precision, shrink

# px. The copies have half the photo's width, within these; larger ones hardly fit better.
MAX_WIDTH = 64
MIN_WIDTH = 32
ROUNDS = 3  # of alternating movement and tones
QUANTILE = 0.3  # of the residuals, taken as their scale: an object may cover most of the frame
SOFTNESS = 4.0  # a residual of this many scales has a quarter of the weight
NOISE = 0.003  # least scale of the residuals, in units of [0, 1]
WHITE = 0.98  # a channel is fully saturated from here on,
WHITENESS = 0.03  # and begins to be this much below
HOLD = 1e-4  # pull towards unchanged tones, for photos that do not determine them (one colour)
MAX_POSE = 0.15  # largest movement, zoom and turn; the frame is 2 wide
MAX_STEP = 0.05  # largest change of them in one step


@dataclass(frozen=True)
class Match:
    """How backgrounds are moved and toned to match their images; see `match`.

    Attributes:
        pose: (B, 4), the movement as `move` applies it.
        tones: (B, 7, 3), coefficients of the image's channels in the background's `_basis`.
        better: bool (B, 1, 1, 1), whether both bring the pair closer.
    """

    pose: Tensor
    tones: Tensor
    better: Tensor

    def move(self, background: Tensor) -> Tensor:
        """Backgrounds (B, 3, H, W) from where the images were taken."""
        return torch.where(self.better, _move(background, self.pose), background)

    def tone(self, moved: Tensor, image: Tensor) -> Tensor:
        """Parts of moved backgrounds with the tones of the same parts of the images."""
        return torch.where(self.better, _map(moved, self.tones, image).clamp(0, 1), moved)

    def matrix(self, number: int, height: int, width: int) -> np.ndarray:
        """The movement of one background of any size: from moved to original pixels, (2, 3).

        In OpenCV's coordinates, for `cv2.warpAffine` with WARP_INVERSE_MAP.
        """
        if not self.better[number]:
            return np.eye(2, 3)
        right, down, zoom, turn = self.pose[number].double().tolist()
        ratio = width / height
        move = np.array([[1 + zoom, -turn / ratio, right], [turn * ratio, 1 + zoom, down]])
        to_frame = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1]])
        both = np.vstack([move, (0, 0, 1)]) @ np.vstack([to_frame, (0, 0, 1)])
        return (np.linalg.inv(np.vstack([to_frame, (0, 0, 1)])) @ both)[:2]


def match(background: Tensor, image: Tensor) -> Tensor:
    """The background as the image's camera would have taken it; all (B, 3, H, W) in [0, 1].

    Tones: every channel of the image as a quadratic polynomial of the background's channels.
    Movement: a similarity transform (shift, turn, zoom) by Gauss-Newton steps (Lucas and Kanade,
    1981). Both use iteratively reweighted least squares (Geman and McClure, 1985). A pair that
    does not become more similar is returned unchanged.

    Saturated pixels of the background have lost their brightness. They take the image's value
    unless it is darker than white maps to; otherwise an overexposed sky would look like an object.
    """
    background, image = (photo.float().contiguous() for photo in (background, image))
    with full_precision(background.device):
        found = fit(background, image)
        return found.tone(found.move(background), image)


@torch.no_grad()
def fit(background: Tensor, image: Tensor) -> Match:
    """What `match` finds, float32 photos in and without autocast."""
    small = _small(background)
    goal = _small(image)
    pose = torch.zeros(small.shape[0], 4, device=small.device)
    weights = torch.ones_like(small[:, :1])
    for number in range(ROUNDS + 1):
        moved = _move(small, pose) if number else small
        unsaturated = 1 - _saturation(moved).amax(1, keepdim=True)
        tones = _fit_tones(moved, goal, weights * unsaturated)
        mapped = _map(moved, tones, goal)
        weights = _robust_weights(goal - mapped) * unsaturated
        if number < ROUNDS:
            pose = (pose + _step(mapped, goal, weights)).clamp(-MAX_POSE, MAX_POSE)
    return Match(pose, tones, _scale(goal - mapped) < _scale(goal - small))


def _small(photo: Tensor) -> Tensor:
    """A small, smoothed copy: smoothing lets a Gauss-Newton step reach farther."""
    height, width = photo.shape[2:]
    fitted = min(MAX_WIDTH, max(MIN_WIDTH, width // 2))
    if width > fitted:
        size = (max(8, round(height * fitted / width)), fitted)
        photo = shrink(photo, size)
    return F.avg_pool2d(F.pad(photo, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _basis(photo: Tensor) -> Tensor:
    """(B, 7, H * W): one, the channels, their squares."""
    return torch.cat([torch.ones_like(photo[:, :1]), photo, photo.square()], dim=1).flatten(2)


def _fit_tones(photo: Tensor, goal: Tensor, weights: Tensor) -> Tensor:
    """Coefficients (B, 7, 3) of the goal's channels in the photo's basis."""
    basis = _basis(photo)
    count, size = basis.shape[1:]
    unchanged = F.pad(torch.eye(3, device=photo.device), (0, 0, 1, 3))
    weighted = basis * weights.flatten(2)
    hold = HOLD * size
    normal = weighted @ basis.transpose(1, 2) + hold * torch.eye(count, device=photo.device)
    return _solve(normal, weighted @ goal.flatten(2).transpose(1, 2) + hold * unchanged)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """x of `matrix @ x = right` for small symmetric positive definite matrices (B, n, n).

    LAPACK's solvers cannot be exported. Elimination without exchanging rows can, and a second round
    for what is left over makes it as exact. A GPU would wait for the launch of each of its steps.
    """
    if matrix.is_cuda:
        return torch.linalg.solve_ex(matrix, right)[0]
    solution = _eliminate(matrix, right)
    return solution + _eliminate(matrix, right - matrix @ solution)


def _eliminate(matrix: Tensor, right: Tensor) -> Tensor:
    """Gauss-Jordan elimination; arguments as those of `_solve`."""
    size = matrix.shape[1]
    unit = torch.eye(size, device=matrix.device)
    both = torch.cat([matrix, right], dim=2)
    for k in range(size):
        row = both[:, k : k + 1] / both[:, k : k + 1, k : k + 1]
        both = both - (both[:, :, k : k + 1] - unit[:, k : k + 1]) * row
    return both[:, :, size:]


def _saturation(photo: Tensor) -> Tensor:
    """Per channel, from 0 to 1 (fully saturated)."""
    return ((photo - WHITE) / WHITENESS + 1).clamp(0, 1)


def _map(photo: Tensor, tones: Tensor, goal: Tensor) -> Tensor:
    """The photo with `tones` applied; where it is saturated, the goal's value if brighter."""
    mapped = (tones.transpose(1, 2) @ _basis(photo)).view_as(photo)
    return mapped + _saturation(photo) * (goal - mapped).clamp_min(0)


def _scale(residual: Tensor) -> Tensor:
    """QUANTILE of the absolute residuals of the worst channel, (B, 1, 1, 1)."""
    worst = residual.abs().amax(1).flatten(1)
    rank = max(1, int(QUANTILE * worst.shape[1]))
    return worst.topk(rank, dim=1, largest=False).values[:, -1, None, None, None]


def _robust_weights(residual: Tensor) -> Tensor:
    """Weight of every pixel, (B, 1, H, W): 1 where it fits, towards 0 where it does not."""
    scale = SOFTNESS * _scale(residual).clamp_min(NOISE)
    return (1 + (residual.abs().amax(1, keepdim=True) / scale).square()).pow(-2)


def _step(photo: Tensor, goal: Tensor, weights: Tensor) -> Tensor:
    """Change of the pose (B, 4): shift right and down, zoom, turn, in units of half a frame."""
    height, width = photo.shape[2:]
    ratio = width / height
    right = F.pad(photo[..., 2:] - photo[..., :-2], (1, 1, 0, 0)) * (width / 4)
    down = F.pad(photo[..., 2:, :] - photo[..., :-2, :], (0, 0, 1, 1)) * (height / 4)
    rows, x = ((torch.arange(n, device=photo.device) * 2 + 1) / n - 1 for n in (height, width))
    y = rows[:, None]
    zoom = right * x + down * y
    turn = down * x * ratio - right * y / ratio
    jacobian = torch.stack([right, down, zoom, turn], dim=1).flatten(2)
    weighted = jacobian * weights.expand_as(photo).flatten(1)[:, None]
    normal = weighted @ jacobian.transpose(1, 2)
    hold = 1e-6 + 1e-3 * normal.diagonal(dim1=1, dim2=2).mean(1)
    normal = normal + hold[:, None, None] * torch.eye(4, device=photo.device)
    step = _solve(normal, weighted @ (goal - photo).flatten(1)[..., None])
    return step[..., 0].clamp(-MAX_STEP, MAX_STEP)


def _move(photo: Tensor, pose: Tensor) -> Tensor:
    """The photo seen from `pose`; its border pixels are repeated beyond the border."""
    ratio = photo.shape[3] / photo.shape[2]
    right, down, zoom, turn = pose.unbind(1)
    first = torch.stack([1 + zoom, -turn / ratio, right], 1)
    second = torch.stack([turn * ratio, 1 + zoom, down], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(photo.shape), align_corners=False)
    return F.grid_sample(photo, grid, padding_mode="border", align_corners=False)
