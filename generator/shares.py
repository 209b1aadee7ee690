"""Work on one batch from several threads, on the CPU.

Products as small as those of an embedded model are not worth splitting among threads; the items
of a batch are. How a batch is shared out depends on its items alone, and gradients are added in
the order of the shares, so a run gives the same weights however many cores there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

T = TypeVar("T")


def deal(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Share items out, so that every share has about as many tokens.

    Items of one length stay together: attention then works on them at once.

    Args:
        lengths: Tokens of each item.
        count: Shares, at least 1.

    Returns:
        The items of each share; no share is empty, so there may be fewer. One share has the
        items in their order.
    """
    if count == 1:
        return [list(range(len(lengths)))]
    shares: list[list[int]] = [[] for _ in range(count)]
    total, before = sum(lengths), 0
    for item in sorted(range(len(lengths)), key=lambda each: lengths[each]):
        # By the item's middle: the last share then is not the one that is short.
        shares[(2 * before + lengths[item]) * count // (2 * total)].append(item)
        before += lengths[item]
    return [share for share in shares if share]


def side_by_side(works: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """Do works on so many threads; meanwhile torch splits nothing further among threads.

    Returns:
        What they gave, in their order.
    """

    def alone(work: Callable[[], T]) -> T:
        torch.set_num_threads(1)
        return work()

    if threads == 1:
        return [work() for work in works]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(alone, works))
    finally:
        torch.set_num_threads(before)


def add_gradients(
    losses: Sequence[Callable[[], Tensor]], parameters: Sequence[Parameter], threads: int
) -> float:
    """Work losses out side by side, and add their gradients up in order.

    Args:
        losses: Each is called once.
        parameters: Whose gradients; what is in ``grad`` already is added to.
        threads: See :func:`side_by_side`.

    Returns:
        The sum of the losses.
    """

    def work(loss_of: Callable[[], Tensor]) -> tuple[float, tuple[Tensor | None, ...]]:
        loss = loss_of()
        return float(loss.detach()), torch.autograd.grad(loss, parameters, allow_unused=True)

    done = side_by_side([partial(work, loss_of) for loss_of in losses], threads)
    for place, parameter in enumerate(parameters):
        for _, gradients in done:
            found = gradients[place]
            if found is not None:
                parameter.grad = found if parameter.grad is None else parameter.grad.add_(found)
    return sum(loss for loss, _ in done)
