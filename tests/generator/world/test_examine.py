"""The examination: right is right, wrong is named, and the marks add up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from generator.recipes import embedded
from generator.world import draw, parse, sample_scenes
from generator.world.examine import (
    Answer,
    Question,
    examine,
    judge,
    marks,
    marks_by,
    questions,
    read_questions,
)

SIDE = 32


def answered_by_drawing(count: int) -> list[Answer]:
    asked = questions(sample_scenes(count, 3))
    return [judge(each, draw(each.scene, SIDE)) for each in asked]


def test_the_drawing_of_a_scene_is_the_right_answer() -> None:
    answers = answered_by_drawing(40)
    assert len(answers) == 80
    assert marks(answers).strict == marks(answers).attributes == 1.0
    assert all(parse(each.question.caption) == each.question.scene for each in answers)
    assert not any(each.faults for each in answers)


def test_what_is_wrong_is_named() -> None:
    scene = sample_scenes(1, 0, groups=1)[0]
    group = scene.groups[0]
    others = {
        "background": dataclasses.replace(
            scene, background="white" if scene.background != "white" else "black"
        ),
        "shape": dataclasses.replace(
            scene,
            groups=(
                dataclasses.replace(group, shape="star" if group.shape != "star" else "circle"),
            ),
        ),
        "groups": next(
            each for each in sample_scenes(20, 1, groups=2) if each.background == scene.background
        ),
    }
    for name, other in others.items():
        answer = judge(Question(scene, "en", ""), draw(other, SIDE))
        assert not answer.is_right
        assert answer.faults == [name]
        assert answer.attributes < 1


def test_an_image_of_nothing_is_wrong() -> None:
    asked = questions(sample_scenes(4, 0))
    plain = np.full((SIDE, SIDE, 3), 128, np.uint8)
    assert marks([judge(each, plain) for each in asked]).strict == 0


def test_marks_by_kind_add_up() -> None:
    answers = answered_by_drawing(20)
    wrong = [
        judge(one.question, other.image)
        for one, other in zip(answers[:20], answers[20:], strict=True)
    ]
    mixed = answers[20:] + wrong
    whole = marks(mixed)
    parts = marks_by(mixed, lambda each: each.question.language)
    assert list(parts) == ["en", "zh"]
    assert sum(each.count for each in parts.values()) == whole.count == 40
    assert sum(each.strict * each.count for each in parts.values()) == pytest.approx(
        whole.strict * 40
    )
    assert 0.5 <= whole.strict < 1
    with pytest.raises(ValueError, match="at least one answer"):
        marks([])


def test_a_generator_answers_alike_in_any_batch() -> None:
    asked = questions(sample_scenes(3, 0))
    recipe = embedded()
    generator = recipe.whole(recipe.new_model())
    options = dataclasses.replace(recipe.sampler, steps=2)
    together = examine(generator, asked, options=options)
    apart = examine(generator, asked, options=options, batch=2)
    assert marks(together).strict == 0
    for one, other in zip(together, apart, strict=True):
        difference = np.abs(one.image.astype(int) - other.image.astype(int)).max()
        assert difference <= 1


def test_questions_are_read_back(tmp_path: Path) -> None:
    asked = questions(sample_scenes(2, 0))
    rows = [
        {"scene": en.scene.to_dict(), "caption": en.caption, "title": zh.caption}
        for en, zh in zip(asked[::2], asked[1::2], strict=True)
    ]
    path = tmp_path / "held_out.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    assert read_questions(path) == asked
    path.write_text('{"scene": {}}', "utf-8")
    with pytest.raises(ValueError, match="line 1"):
        read_questions(path)
