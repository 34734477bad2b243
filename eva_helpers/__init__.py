"""Mask and depth from two photos: the helpers shared by the notebooks.

Importing the package is cheap; each subpackage imports torch, kornia and the rest when it is used.
"""

__version__ = "0.5.0"
