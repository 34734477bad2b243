"""Mask and depth from two photos: the helpers shared by the notebooks.

Importing the package is cheap; torch, kornia and the rest are imported by the modules that need them.
"""

__version__ = "0.1.0"
