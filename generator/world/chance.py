"""How often an answer that knows nothing of the question is right."""

from __future__ import annotations

from dataclasses import dataclass

from generator.world.drawing import draw
from generator.world.oracle import matches, score
from generator.world.scene import Scene
from generator.world.space import sample_scenes
from generator.world.words import caption, parse


@dataclass(frozen=True)
class Chance:
    """Shares of right answers, in [0, 1].

    Args:
        strict: Of images that show their caption's scene.
        attributes: Of attributes.
        count: Images.
    """

    strict: float
    attributes: float
    count: int


def measure_chance(asked: list[Scene], seed: int = 0) -> Chance:
    """Answer each question with the drawing of another scene, drawn by lot, and ask the oracle.

    Args:
        asked: The scenes whose captions are the questions, at least 1.
        seed: Of the answers.

    Raises:
        ValueError: If nothing is asked.
    """
    if not asked:
        raise ValueError("chance needs at least one scene that is asked for, got none")
    answers = sample_scenes(len(asked), seed)
    right, share = 0, 0.0
    for number, (scene, other) in enumerate(zip(asked, answers, strict=True)):
        question = parse(caption(scene, "en", seed=number))
        image = draw(other)
        right += matches(image, question)
        share += score(image, question)
    return Chance(right / len(asked), share / len(asked), len(asked))
