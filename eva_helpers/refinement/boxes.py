"""Where objects are: boxes around the changed parts of a coarse mask."""

import cv2
import numpy as np

FOUND = 0.25  # probability from which a pixel of a coarse mask counts
LEAST = 6  # px of a coarse mask: smaller parts are left as they are
MARGIN = 0.2  # on every side of an object, as a share of its longer side
MARGIN_PIXELS = 3  # of the coarse mask, in addition
MOST = 6  # boxes: each costs a pass of the network

Box = tuple[int, int, int, int]  # top, left, bottom, right in pixels, the last two exclusive


def object_boxes(mask: np.ndarray, shape: tuple[int, ...]) -> list[Box]:
    """Boxes with margins around the objects of a coarse mask (h, w), in a photo of `shape`.

    They do not overlap. Those closest together are joined until there are at most MOST.
    """
    found = cv2.dilate((mask > FOUND).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, _, statistics, _ = cv2.connectedComponentsWithStats(found)
    boxes = []
    for x, y, width, height, _ in statistics[1:]:
        part = mask[y : y + height, x : x + width]
        if (part > FOUND).sum() >= LEAST:
            margin = MARGIN * max(width, height) + MARGIN_PIXELS
            boxes.append((y - margin, x - margin, y + height + margin, x + width + margin))
    scale = np.tile(np.divide(shape[:2], mask.shape), 2)
    limits = np.tile(shape[:2], 2)
    placed = np.rint(np.reshape(boxes, (-1, 4)) * scale).clip(0, limits).astype(int)
    return _joined([tuple(box) for box in placed.tolist()])


def grown(box: Box, step: int, frame: tuple[int, ...]) -> Box:
    """A box with sides that are multiples of `step`, or as long as those of the frame (H, W)."""
    sides = []
    for start, end, limit in zip(box[:2], box[2:], frame, strict=False):
        length = min(-(-(end - start) // step) * step, limit)
        first = min(max(0, (start + end - length) // 2), limit - length)
        sides.append((first, first + length))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right


def _joined(boxes: list[Box]) -> list[Box]:
    """The boxes, overlapping ones joined, and the nearest ones while there are too many."""
    boxes = list(boxes)
    while len(boxes) > 1:
        pairs = [(a, b) for number, a in enumerate(boxes) for b in boxes[:number]]
        costs = [_wasted(*pair) for pair in pairs]
        best = int(np.argmin(costs))
        if costs[best] > 0 and len(boxes) <= MOST:
            break
        one, other = pairs[best]
        boxes.remove(one)
        boxes.remove(other)
        boxes.append(_around(one, other))
    return sorted(boxes)


def _around(one: Box, other: Box) -> Box:
    top, left = np.minimum(one[:2], other[:2]).tolist()
    bottom, right = np.maximum(one[2:], other[2:]).tolist()
    return top, left, bottom, right


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _wasted(one: Box, other: Box) -> float:
    """The area that is in the box around both and in neither; -1 if they overlap."""
    apart = np.maximum(one[:2], other[:2]) >= np.minimum(one[2:], other[2:])
    if not apart.any():
        return -1.0
    return float(_area(_around(one, other)) - _area(one) - _area(other)) + 1.0
