"""Making two shots of one scene alike: exposure, colours and camera shake, found from the photos themselves.

Whatever a mask should ignore and a few numbers describe is taken away before the network looks: how the tones of the background map to
the image's, and how far the camera moved in between. Both are fitted robustly on small copies, so that the object, which
fits neither, hardly counts. No learned parameter is involved, and nothing is trained through the fit.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH, LEAST = 64, 32  # px of the copies that are fitted: half the photo's within these; larger ones cost more and fit hardly better
ROUNDS = 3  # of moving and mapping in turn
QUANTILE = 0.3  # of the residuals, that gives their scale: an object may cover most of the frame
SOFTNESS = 4.0  # residuals of so many scales count a quarter
NOISE = 0.003  # least scale of the residuals, in units of [0, 1]
WHITE, WHITENESS = 0.98, 0.03  # a channel is saturated from here on, and begins to be so much earlier
HOLD = 1e-4  # pull towards unchanged tones, for photos that do not say (one colour only)
FARTHEST = 0.15  # of the movement and turn that are believed; the frame is 2 wide


def match(background: Tensor, image: Tensor) -> Tensor:
    """The background as the image's camera would have taken it: (B, 3, H, W) in [0, 1], both and the result.

    Tones: every channel of the image as a quadratic polynomial of the background's channels. Movement: a similarity (shift, turn,
    zoom), by Gauss-Newton steps on the residual (Lucas and Kanade, 1981). Both by least squares reweighted after Geman and McClure
    (1985). A pair that does not become more alike is returned as it is.

    Where the background is saturated nobody knows how bright it was: there it takes the image's value, if that is not darker than what
    white becomes. Else the sky of an overexposed background would look like an object.
    """
    background, image = background.float().contiguous(), image.float().contiguous()
    # bfloat16 keeps three digits, too few for a difference of two photos
    with torch.autocast(background.device.type, enabled=False):
        with torch.no_grad():
            pose, tones, better = _fit(_small(background), _small(image))
        return torch.where(better, _map(_move(background, pose), tones, image).clamp(0, 1), background)


def _fit(small: Tensor, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pose (B, 4), tones (B, 7, 3), and whether they make the pair more alike (B, 1, 1, 1)."""
    pose, weights = torch.zeros(len(small), 4, device=small.device), torch.ones_like(small[:, :1])
    for number in range(ROUNDS + 1):
        moved = _move(small, pose) if number else small
        told = 1 - _saturated(moved).amax(1, keepdim=True)
        tones = _fit_tones(moved, goal, weights * told)
        mapped = _map(moved, tones, goal)
        weights = _robust(goal - mapped) * told
        if number < ROUNDS:
            pose = (pose + _step(mapped, goal, weights)).clamp(-FARTHEST, FARTHEST)
    return pose, tones, _scale(goal - mapped) < _scale(goal - small)


def _small(photo: Tensor) -> Tensor:
    height, width = photo.shape[2:]
    fitted = min(WIDTH, max(LEAST, width // 2))
    if width > fitted:
        photo = F.interpolate(photo, size=(max(8, round(height * fitted / width)), fitted), mode="area")
    return F.avg_pool2d(F.pad(photo, (1, 1, 1, 1), mode="replicate"), 3, 1)  # smooth: a step of Gauss-Newton then reaches farther


def _basis(photo: Tensor) -> Tensor:
    """(B, 7, H * W): one, the channels, their squares."""
    return torch.cat([torch.ones_like(photo[:, :1]), photo, photo.square()], dim=1).flatten(2)


def _fit_tones(photo: Tensor, goal: Tensor, weights: Tensor) -> Tensor:
    """Coefficients (B, 7, 3) of the goal's channels in the photo's basis."""
    basis = _basis(photo)
    count, size = basis.shape[1:]
    unchanged = torch.zeros(count, 3, device=photo.device)
    unchanged[1:4].fill_diagonal_(1.0)
    weighted, hold = basis * weights.flatten(2), HOLD * size
    normal = weighted @ basis.transpose(1, 2) + hold * torch.eye(count, device=photo.device)
    return torch.linalg.solve(normal, weighted @ goal.flatten(2).transpose(1, 2) + hold * unchanged)


def _saturated(photo: Tensor) -> Tensor:
    return ((photo - WHITE) / WHITENESS + 1).clamp(0, 1)


def _map(photo: Tensor, tones: Tensor, goal: Tensor) -> Tensor:
    mapped = (tones.transpose(1, 2) @ _basis(photo)).view_as(photo)
    return mapped + _saturated(photo) * (goal - mapped).clamp_min(0)


def _scale(residual: Tensor) -> Tensor:
    """(B, 1, 1, 1): the QUANTILE of the residuals, of the channel that fits worst."""
    worst = residual.abs().amax(1).flatten(1)
    return worst.kthvalue(max(1, int(QUANTILE * worst.shape[1])), dim=1).values[:, None, None, None]


def _robust(residual: Tensor) -> Tensor:
    """Weight of every place, (B, 1, H, W): 1 where it fits, towards 0 where it does not."""
    relative = residual.abs().amax(1, keepdim=True) / (SOFTNESS * _scale(residual).clamp_min(NOISE))
    return (1 + relative.square()).pow(-2)


def _step(photo: Tensor, goal: Tensor, weights: Tensor) -> Tensor:
    """How to change the pose (B, 4): shift right and down, zoom, turn, in units of half a frame."""
    height, width = photo.shape[2:]
    right = F.pad(photo[..., 2:] - photo[..., :-2], (1, 1, 0, 0)) * (width / 4)
    down = F.pad(photo[..., 2:, :] - photo[..., :-2, :], (0, 0, 1, 1)) * (height / 4)
    y, x = ((torch.arange(side, device=photo.device) * 2 + 1) / side - 1 for side in (height, width))
    y, ratio = y[:, None], width / height
    jacobian = torch.stack([right, down, right * x + down * y, down * x * ratio - right * y / ratio], dim=1).flatten(2)
    weighted = jacobian * weights.expand_as(photo).flatten(1)[:, None]
    normal = weighted @ jacobian.transpose(1, 2)
    hold = 1e-6 + 1e-3 * normal.diagonal(dim1=1, dim2=2).mean(1)
    normal = normal + hold[:, None, None] * torch.eye(4, device=photo.device)
    return torch.linalg.solve(normal, weighted @ (goal - photo).flatten(1)[..., None])[..., 0].clamp(-0.05, 0.05)


def _move(photo: Tensor, pose: Tensor) -> Tensor:
    """The photo seen from `pose`; beyond its border its outermost pixels go on."""
    ratio = photo.shape[3] / photo.shape[2]
    right, down, zoom, turn = pose.unbind(1)
    rows = torch.stack([1 + zoom, -turn / ratio, right], 1), torch.stack([turn * ratio, 1 + zoom, down], 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(photo.shape), align_corners=False)
    return F.grid_sample(photo, grid, padding_mode="border", align_corners=False)
