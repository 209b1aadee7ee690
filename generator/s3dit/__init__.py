"""S3-DiT: the single-stream diffusion transformer of Z-Image."""

from generator.s3dit.config import S3DiTConfig
from generator.s3dit.model import Captions, S3DiT
from generator.s3dit.omni import Reference

__all__ = ["Captions", "Reference", "S3DiT", "S3DiTConfig"]
