"""Heads: small networks that turn the vector of an image into one score."""

from __future__ import annotations

from stages.heads.head import Head
from stages.heads.network import Network

__all__ = ["Head", "Network"]
