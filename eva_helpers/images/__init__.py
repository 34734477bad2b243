"""Pictures: reading any kind as photo, mask or depth, resampling, writing PNG."""

from eva_helpers.images.arrays import resize, size_text, write_png
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
from eva_helpers.images.reading import (
    as_picture,
    read_map,
    read_rgb,
    read_rgba,
    to_rgb,
    white_level,
)

__all__ = [
    "PICTURES",
    "DepthReader",
    "Picture",
    "as_picture",
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
