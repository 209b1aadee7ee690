"""Small components, solved exactly: a search over all partitions, with bounds.

The Constant Potts Model scores a partition with the sum, over the pairs inside communities,
of a_ij = w_ij - g * n_i * n_j (see ``dedup.communities``). A partition of the nodes 0..n-1
is written as a restricted growth string: node 0 has label 0, and each node has the label of a
node before it or the next unused one. There are as many strings as partitions (the Bell
numbers: 877 of 7 nodes, 115,975 of 10), each visited once, in lexicographic order.

A branch is left when it cannot win: what is scored so far, plus every positive a_ij with an
end not yet placed, is an upper bound on all that the branch holds. So the partition found is
optimal. Ties go to the fewest communities, then to the lexicographically first string; the
answer depends on the weights and the order of the nodes alone.

Scores are compared as integers: each a_ij is rounded to a multiple of 2^-50 of the largest
in the component. Ties are thus ties whatever the order of summation, and the optimum is one
up to n^2 / 2 of these steps, less than what float64 loses in a sum.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dedup.aggregate import Parts
from dedup.arrays import Doubles, Ints

MOST_NODES = 10
"""Components of more nodes than this are left to a solver: the search grows faster than n!."""

_STEPS = float(1 << 50)


def solve_small(parts: Parts, resolution: float) -> Ints:
    """Find the best communities of small graphs by the Constant Potts Model.

    Args:
        parts: Graphs without loops; time grows with the Bell number of their nodes, at worst.
        resolution: The g of the model, at least 0.

    Returns:
        For each node the lowest node of its community, numbered within its graph, int64.
    """
    return _solve_parts(
        parts.node_start,
        parts.edge_start,
        parts.sizes,
        parts.src,
        parts.dst,
        parts.weight,
        np.float64(resolution),
    )


@njit(cache=True, nogil=True)
def _solve_parts(
    node_start: Ints,
    edge_start: Ints,
    sizes: Ints,
    src: Ints,
    dst: Ints,
    weight: Doubles,
    resolution: float,
) -> Ints:
    found = np.empty(len(sizes), np.int64)
    for part in range(len(node_start) - 1):
        first, last = node_start[part], node_start[part + 1]
        start, stop = edge_start[part], edge_start[part + 1]
        gain = _gains(
            sizes[first:last], src[start:stop], dst[start:stop], weight[start:stop], resolution
        )
        best = np.arange(last - first) if _repelled(gain) else _best_partition(gain)
        for node in range(last - first):
            found[first + node] = best[node]
    return found


@njit(cache=True, nogil=True)
def _gains(sizes: Ints, src: Ints, dst: Ints, weight: Doubles, resolution: float) -> Ints:
    """What each pair adds to the score of a community that holds it, in whole steps."""
    count = len(sizes)
    exact = np.zeros((count, count), np.float64)
    for one in range(count):
        for other in range(count):
            exact[one, other] = -resolution * np.float64(sizes[one]) * np.float64(sizes[other])
    for edge in range(len(src)):
        exact[src[edge], dst[edge]] += weight[edge]
        exact[dst[edge], src[edge]] += weight[edge]
    most = 0.0
    for one in range(count):
        for other in range(one):
            most = max(most, abs(exact[one, other]))
    gain = np.zeros((count, count), np.int64)
    if most > 0.0:
        for one in range(count):
            for other in range(one):
                gain[one, other] = np.int64(np.floor(exact[one, other] / most * _STEPS + 0.5))
                gain[other, one] = gain[one, other]
    return gain


@njit(cache=True, nogil=True)
def _ahead(gain: Ints) -> Ints:
    """For each number of nodes placed, the sum of the positive gains still to be had."""
    count = len(gain)
    ahead = np.zeros(count + 1, np.int64)
    for node in range(count - 1, -1, -1):
        ahead[node] = ahead[node + 1]
        for other in range(node):
            ahead[node] += max(gain[node, other], 0)
    return ahead


@njit(cache=True, nogil=True)
def _repelled(gain: Ints) -> bool:
    """Whether every pair loses, so that nothing but single nodes is best, without a tie."""
    for node in range(len(gain)):
        for other in range(node):
            if gain[node, other] >= 0:
                return False
    return True


@njit(cache=True, nogil=True)
def _best_partition(gain: Ints) -> Ints:
    """The best restricted growth string, each label replaced by its lowest node."""
    count = len(gain)
    ahead = _ahead(gain)
    label = np.zeros(count, np.int64)
    best = np.zeros(count, np.int64)
    best_score, best_used = np.int64(-(1 << 62)), count + 1
    choice = np.zeros(count, np.int64)  # the label tried last at each depth
    used = np.zeros(count, np.int64)  # labels in use before each depth
    score = np.zeros(count, np.int64)  # gained before each depth
    joining = np.zeros((count, count), np.int64)  # gain of each label at each depth
    depth, choice[0] = 0, -1
    while depth >= 0:
        choice[depth] += 1
        if choice[depth] > used[depth]:
            depth -= 1
            continue
        now = score[depth] + joining[depth, choice[depth]]
        labels = max(used[depth], choice[depth] + 1)
        bound = now + ahead[depth + 1]
        if bound < best_score or (bound == best_score and labels >= best_used):
            continue
        label[depth] = choice[depth]
        if depth == count - 1:
            for node in range(count):
                best[node] = label[node]
            best_score, best_used = now, labels
            continue
        depth += 1
        choice[depth], used[depth], score[depth] = -1, labels, now
        for other in range(labels + 1):
            joining[depth, other] = 0
        for other in range(depth):
            joining[depth, label[other]] += gain[depth, other]
    for node in range(count - 1, -1, -1):
        label[best[node]] = node  # the lowest node of each label is written last
    for node in range(count):
        best[node] = label[best[node]]
    return best
