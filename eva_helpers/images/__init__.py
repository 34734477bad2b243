"""Pictures: reading any kind as photo, mask or depth, resampling, writing PNG."""

from eva_helpers.images.arrays import MIN_SIDE, resize, size_text, write_png
from eva_helpers.images.depths import DepthReader, depth_reader
from eva_helpers.images.masks import read_mask
from eva_helpers.images.opening import (
    PICTURES,
    Picture,
    is_picture,
    open_image,
    open_picture,
    picture_files,
)
from eva_helpers.images.reading import read_map, read_rgb, read_rgba, to_rgb, white_level

__all__ = [
    "MIN_SIDE",
    "PICTURES",
    "DepthReader",
    "Picture",
    "depth_reader",
    "is_picture",
    "open_image",
    "open_picture",
    "picture_files",
    "read_map",
    "read_mask",
    "read_rgb",
    "read_rgba",
    "resize",
    "size_text",
    "to_rgb",
    "white_level",
    "write_png",
]
