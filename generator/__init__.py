"""Generator: the embedded S3-DiT, its training and its sampling. The probing comes later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generator.s3dit import S3DiT, S3DiTConfig

__all__ = ["S3DiT", "S3DiTConfig"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    """Load the model when it is first asked for: torch takes a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from generator import s3dit

    return getattr(s3dit, name)
