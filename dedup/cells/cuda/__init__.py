"""The search by cells on GPUs: the same codes, candidates, scores and rules, as torch operations.

Nothing here decides anything anew. Codes and products are the same integers as on a processor,
scores are float64 sums rounded once to float32, and rows with too many neighbours list the same
ones. The operations run on whatever device torch has, which is how they are tested without a GPU.
"""

from __future__ import annotations

from dedup.options import Device


def resolve_device(device: Device) -> str:
    """Where a search computes: ``cuda`` for all GPUs that this process sees, or ``cpu``.

    Raises:
        ValueError: If a GPU is asked for and torch sees none.
    """
    if device == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ValueError(
            "device is cuda and PyTorch sees no GPU: check nvidia-smi and that PyTorch was "
            "installed with CUDA, or set device to cpu"
        )
    return "cpu"
