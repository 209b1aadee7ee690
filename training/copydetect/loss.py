"""The loss: contrast within a step, and spread.

InfoNCE and the entropy term of SSCD (Pizzi et al. 2022; the term is KoLeo of Sablayrolles et
al. 2019). A memory of past embeddings as further negatives was tried and left out: the network
changes so fast at first that it fled from its own past, and all embeddings became one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def copy_loss(
    vectors: Tensor,
    ids: Tensor,
    others: Tensor,
    other_ids: Tensor,
    *,
    temperature: float,
    spread_weight: float,
    global_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of one step of one process.

    Each pair of views of one photograph is to be more alike than a view is to views of other
    photographs: those of its own row, and, at ``global_weight``, those of all rows, so that one
    threshold serves all pictures.

    Args:
        vectors: (n, d), unit length.
        ids: (n,) photographs.
        others: (m, d), further negatives, from the other processes.
        other_ids: (m,).
        temperature: Of the contrast.
        spread_weight: Of minus the log of the distance to the nearest other photograph.
        global_weight: In [0, 1].

    Returns:
        The loss, and its parts.
    """
    similar = vectors @ torch.cat([vectors, others]).T
    negative = ids[:, None] != torch.cat([ids, other_ids])[None, :]
    scaled = (similar / temperature).masked_fill(~negative, -torch.inf)
    of_row = torch.logsumexp(scaled, dim=1, keepdim=True)
    of_all = torch.logsumexp(of_row, dim=0, keepdim=True) - float(torch.tensor(len(ids)).log())
    n = len(ids)
    pairs = (ids[:, None] == ids[None, :]) & ~torch.eye(n, dtype=torch.bool)
    wanted = similar[:, :n] / temperature
    contrast = functional.softplus(of_row - wanted)[pairs].mean()
    overall = functional.softplus(of_all - wanted)[pairs].mean()
    nearest = similar.masked_fill(~negative, -1.0).amax(dim=1)
    spread = -0.5 * torch.log((2 - 2 * nearest).clamp(min=1e-3)).mean()
    loss = (1 - global_weight) * contrast + global_weight * overall + spread_weight * spread
    parts = {"contrast": contrast.item(), "overall": overall.item(), "spread": spread.item()}
    parts["positive"] = similar[:, :n][pairs].mean().item()
    parts["nearest"] = nearest.mean().item()
    return loss, parts
