"""A procedural world: scenes of shapes, their drawings, their captions, and an oracle.

Everything about a scene is known, so whatever makes pictures from captions can be asked for
one, and its answer read back and compared with the truth. Pure numpy and Pillow.
"""

from generator.world.chance import Chance, measure_chance
from generator.world.drawing import draw
from generator.world.oracle import Reading, look, matches, read, score
from generator.world.scene import Group, Scene
from generator.world.space import all_scenes, is_withheld, sample_scenes, split
from generator.world.words import KINDS, LANGUAGES, caption, parse

__all__ = [
    "KINDS",
    "LANGUAGES",
    "Chance",
    "Group",
    "Reading",
    "Scene",
    "all_scenes",
    "caption",
    "draw",
    "is_withheld",
    "look",
    "matches",
    "measure_chance",
    "parse",
    "read",
    "sample_scenes",
    "score",
    "split",
]
