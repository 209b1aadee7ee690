"""Generators from the command line: training, distilling, drawing, from folder to folder."""

from __future__ import annotations

from pipeline.generating.drawing import draw_prompts
from pipeline.generating.inputs import Captions
from pipeline.generating.runs import How, Student, Trained, distil_generator, train_embedded

__all__ = [
    "Captions",
    "How",
    "Student",
    "Trained",
    "distil_generator",
    "draw_prompts",
    "train_embedded",
]
