"""Simple worlds with exact depth, made from a seed, beside the park in training."""

from eva_helpers.worlds.files import with_objects, write_worlds
from eva_helpers.worlds.plans import KINDS
from eva_helpers.worlds.render import World, make_world

__all__ = ["KINDS", "World", "make_world", "with_objects", "write_worlds"]
