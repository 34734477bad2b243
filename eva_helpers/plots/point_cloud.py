"""A photo with depth, drawn in space."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

VIEWS = {  # elevation, azimuth (degrees) and zoom: the more labels, the more room they need
    "camera view": (4, -90, 1.6),
    "view from the right": (22, -50, 1.05),
    "view from above": (60, -75, 0.95),
}


def point_cloud(
    image: np.ndarray, depth: np.ndarray, focal: float, z_near: float, far: float = 6.0
) -> Figure:
    """Every pixel closer than `far` metres at its place in space, from three sides.

    `image` is uint8 RGB (H, W, 3), `depth` (H, W) inverse depth, 1 at `z_near` metres. With `focal`
    in px, x = (column - W / 2) z / focal and y likewise (pinhole camera).
    """
    distance = z_near / np.maximum(depth, 1e-6)
    rows, columns = np.nonzero(distance < far)
    z = distance[rows, columns]
    x = (columns - depth.shape[1] / 2) * z / focal
    y = (depth.shape[0] / 2 - rows) * z / focal
    figure = plt.figure(figsize=(12, 4.2), layout="constrained")
    for number, (title, (elevation, azimuth, zoom)) in enumerate(VIEWS.items(), 1):
        ax = figure.add_subplot(1, 3, number, projection="3d")
        ax.scatter(x, z, y, c=image[rows, columns] / 255.0, s=5 * zoom, linewidths=0)
        ax.set_title(title, pad=-8)
        ax.view_init(elevation, azimuth)
        ax.set(xlabel="x (m)", ylabel="distance (m)", zlabel="height (m)")
        ax.set_facecolor("none")  # or it hides the labels of its neighbour
        ax.set_box_aspect((1, 1.3, 0.5), zoom=zoom)
        ax.locator_params(nbins=5)
        ax.tick_params(labelsize=8, pad=1)
    # the labels of an axis along the line of sight would overlap
    figure.axes[0].set(ylabel="", yticks=[], zlabel="", zticks=[])
    figure.axes[2].set(zlabel="", zticks=[])
    return figure
