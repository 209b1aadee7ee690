"""Examines a generator: it draws what captions of the world ask for, and the oracle reads it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generator.codecs import to_array
from generator.sampler import SamplerOptions
from generator.text_to_image import TextToImage
from generator.world.oracle import look
from generator.world.scene import GROUP_VALUES, Scene, attributes_right
from generator.world.words import LANGUAGES, Language, caption


@dataclass(frozen=True)
class Question:
    """What is asked for.

    Args:
        scene: The right answer.
        language: Of the caption.
        caption: What the generator is told.
    """

    scene: Scene
    language: Language
    caption: str


@dataclass(frozen=True)
class Answer:
    """What came.

    Args:
        question: What was asked for.
        image: uint8 (side, side, 3).
        read: The scene that the oracle found nearest.
        is_right: Whether the image shows the scene that was asked for, surely and alone.
        attributes: Share of the scene's attributes that are read in the image, in [0, 1].
    """

    question: Question
    image: NDArray[np.uint8]
    read: Scene
    is_right: bool
    attributes: float

    @property
    def faults(self) -> list[str]:
        """What is wrong: attributes, ``groups`` for their number, ``unsure``; none if right."""
        if self.is_right:
            return []
        asked = self.question.scene
        if len(asked.groups) != len(self.read.groups):
            return ["groups"]
        pairs = list(zip(asked.groups, self.read.groups, strict=True))
        found = [
            name
            for name in GROUP_VALUES
            if any(getattr(one, name) != getattr(other, name) for one, other in pairs)
        ]
        if asked.background != self.read.background:
            found.append("background")
        return found or ["unsure"]


@dataclass(frozen=True)
class Marks:
    """Of some answers.

    Args:
        count: How many.
        strict: Share that is right, in [0, 1].
        attributes: Share of attributes that are right, in [0, 1].
    """

    count: int
    strict: float
    attributes: float


def questions(scenes: Sequence[Scene], seed: int = 0) -> list[Question]:
    """Every scene in every language, the phrasing by lot."""
    return [
        Question(scene, language, caption(scene, language, seed=seed + number))
        for number, scene in enumerate(scenes)
        for language in LANGUAGES
    ]


def read_questions(path: str | Path) -> list[Question]:
    """The held-out captions that ``winnow demo --world`` wrote: ``held_out.jsonl``.

    Args:
        path: Of the file.

    Raises:
        ValueError: If a line is none of a scene with its captions.
    """
    found = []
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            scene = Scene.from_dict(row["scene"])
            texts: list[tuple[Language, str]] = [("en", row["caption"]), ("zh", row["title"])]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error!r}") from None
        found += [Question(scene, language, text) for language, text in texts]
    return found


def examine(
    generator: TextToImage,
    asked: Sequence[Question],
    *,
    side: int = 32,
    options: SamplerOptions | None = None,
    batch: int = 50,
    seed: int = 0,
) -> list[Answer]:
    """Draw an image for each caption and have the oracle read it.

    Args:
        generator: What is examined.
        asked: The questions.
        side: Of the images, in pixels.
        options: How to sample; ``None``: the generator's own.
        batch: Images drawn together.
        seed: Of the noise; each question has its own.
    """
    answers = []
    for first in range(0, len(asked), batch):
        part = asked[first : first + batch]
        drawn = generator.generate(
            [each.caption for each in part],
            size=(side, side),
            seeds=[seed + first + number for number in range(len(part))],
            options=options,
        )
        answers += [judge(each, to_array(image)) for each, image in zip(part, drawn, strict=True)]
    return answers


def judge(question: Question, image: NDArray[np.uint8]) -> Answer:
    """Read one image, uint8 (side, side, 3)."""
    reading = look(image)
    is_right = reading.is_sure and reading.scene == question.scene
    share = attributes_right(question.scene, reading.scene, reading.trusted)
    return Answer(question, image, reading.scene, is_right, share)


def marks(answers: Sequence[Answer]) -> Marks:
    """Shares over some answers.

    Raises:
        ValueError: If there are none.
    """
    if not answers:
        raise ValueError("marks need at least one answer, got none")
    count = len(answers)
    strict = sum(each.is_right for each in answers) / count
    return Marks(count, strict, sum(each.attributes for each in answers) / count)


def marks_by(answers: Sequence[Answer], key: Callable[[Answer], str]) -> dict[str, Marks]:
    """Marks of each kind of answer, in order of the kinds' names."""
    kinds: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        kinds[key(answer)].append(answer)
    return {kind: marks(kinds[kind]) for kind in sorted(kinds)}
