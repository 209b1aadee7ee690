"""The shape of an S3-DiT, field by field as diffusers writes it into ``config.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Tokens of one kind in one item are filled up to a multiple of this with a learned token.
SEQUENCE_MULTIPLE = 32

#: Width of the conditioning vector; a narrower model takes its own width.
CONDITION_WIDTH = 256

#: Written by diffusers for its own use.
_FOREIGN = {"_class_name", "_diffusers_version", "_name_or_path"}
_SEQUENCES = ("all_patch_size", "all_f_patch_size", "axes_dims", "axes_lens")


@dataclass(frozen=True)
class S3DiTConfig:
    """Shape of the model. The defaults are the published one of 6.15 B parameters.

    Args:
        all_patch_size: Sides of the square patches that the model can take, in latent pixels.
        all_f_patch_size: Frames of a patch, one for each entry of ``all_patch_size``.
        in_channels: Channels of a latent, in and out.
        dim: Width of a token.
        n_layers: Blocks over image and text together.
        n_refiner_layers: Blocks over each kind of token alone, before that.
        n_heads: Attention heads.
        n_kv_heads: Kept for the file's sake; keys and values have ``n_heads`` heads.
        norm_eps: Added to the mean square in every RMS norm of width ``dim``.
        qk_norm: Whether queries and keys are RMS-normed.
        cap_feat_dim: Width of a caption feature.
        siglip_feat_dim: Width of a SigLIP feature of a reference image; ``None``: takes none.
        rope_theta: Base of the rotary frequencies.
        t_scale: What a time in [0, 1] is multiplied by.
        axes_dims: Channels of a head that turn with time, row and column; even, and in sum the
            width of a head.
        axes_lens: Positions along each axis must stay below these.
        omni_quirks: Reference images are laid out as diffusers 0.42 does it, with its two
            oddities (see :mod:`generator.s3dit.omni`). Written into the file only where false.
    """

    all_patch_size: tuple[int, ...] = (2,)
    all_f_patch_size: tuple[int, ...] = (1,)
    in_channels: int = 16
    dim: int = 3840
    n_layers: int = 30
    n_refiner_layers: int = 2
    n_heads: int = 30
    n_kv_heads: int = 30
    norm_eps: float = 1e-5
    qk_norm: bool = True
    cap_feat_dim: int = 2560
    siglip_feat_dim: int | None = None
    rope_theta: float = 256.0
    t_scale: float = 1000.0
    axes_dims: tuple[int, ...] = (32, 48, 48)
    axes_lens: tuple[int, ...] = (1536, 512, 512)
    omni_quirks: bool = True

    def __post_init__(self) -> None:
        for name in _SEQUENCES:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_counts()
        self._check_axes()

    def _check_counts(self) -> None:
        for name in ("in_channels", "dim", "n_heads", "cap_feat_dim", "rope_theta", "t_scale"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("n_layers", "n_refiner_layers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not self.all_patch_size or len(self.all_patch_size) != len(self.all_f_patch_size):
            raise ValueError(
                "all_patch_size and all_f_patch_size must have the same length, at least 1, "
                f"got {self.all_patch_size} and {self.all_f_patch_size}"
            )
        if self.dim % self.n_heads:
            raise ValueError(f"dim must be a multiple of n_heads, got {self.dim} / {self.n_heads}")

    def _check_axes(self) -> None:
        if len(self.axes_dims) != 3 or len(self.axes_lens) != 3:
            raise ValueError(
                "axes_dims and axes_lens must have 3 entries (time, row, column), "
                f"got {self.axes_dims} and {self.axes_lens}"
            )
        if sum(self.axes_dims) != self.head_dim or any(width % 2 for width in self.axes_dims):
            raise ValueError(
                f"axes_dims must be even and add up to dim / n_heads = {self.head_dim}, "
                f"got {self.axes_dims}"
            )

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.dim // self.n_heads

    @property
    def condition_dim(self) -> int:
        """Width of the vector that the time is embedded into."""
        return min(self.dim, CONDITION_WIDTH)

    @property
    def patches(self) -> tuple[tuple[int, int], ...]:
        """Pairs (side, frames) of the patches that the model can take."""
        return tuple(zip(self.all_patch_size, self.all_f_patch_size, strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> S3DiTConfig:
        """Read what stands in a ``config.json``.

        Args:
            values: The file's object. What diffusers writes for itself is passed over.

        Raises:
            ValueError: On a field that is not known: it could change what the weights mean.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        given = {key: value for key, value in values.items() if key not in _FOREIGN}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ValueError(f"unknown field of an S3-DiT configuration: {', '.join(unknown)}")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """What :meth:`from_dict` reads: JSON-ready, as diffusers writes it."""
        values = dataclasses.asdict(self)
        values.update({name: list(values[name]) for name in _SEQUENCES})
        if values.pop("omni_quirks") is False:
            values["omni_quirks"] = False
        return values
