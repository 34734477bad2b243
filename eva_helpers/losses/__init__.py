"""The losses: raw terms of mask and depth, their weights, and one weighted sum."""

from eva_helpers.losses.ssim import SSIM_SIGMA, SSIM_WINDOW, depth_ssim, ssim_map
from eva_helpers.losses.terms import (
    align_scale_shift,
    depth_edge,
    depth_l1,
    depth_ssi,
    mask_bce,
    mask_dice,
    raw_terms,
)
from eva_helpers.losses.total import BALANCES, Balance, task_losses, weighted_sum
from eva_helpers.losses.weighting import TERMS, WEIGHED, LossWeights, weight_vector

__all__ = [
    "BALANCES", "SSIM_SIGMA", "SSIM_WINDOW", "TERMS", "WEIGHED", "Balance", "LossWeights",
    "align_scale_shift", "depth_edge", "depth_l1", "depth_ssi", "depth_ssim", "mask_bce",
    "mask_dice", "raw_terms", "ssim_map", "task_losses", "weight_vector",
    "weighted_sum",
]  # fmt: skip
