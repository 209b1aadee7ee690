"""``winnow train-head``: from a few hundred labels to a score for every image."""

from __future__ import annotations

from pipeline.heads.train import TrainedHead, train_head

__all__ = ["TrainedHead", "train_head"]
