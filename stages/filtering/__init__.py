"""What the ``filter`` stage is made of: clauses in SQL, and which of them hold for an image."""

from __future__ import annotations
