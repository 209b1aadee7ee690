"""Leiden for the Constant Potts Model, compiled, for many components at a call.

The algorithm is that of Traag, Waltman and van Eck, "From Louvain to Leiden", Scientific
Reports 9 (2019) 5233. A pass moves nodes between communities while the score rises, looking
again at the neighbours of what moved; refines each community into well-connected parts, built
up from single nodes; makes each part a node of a smaller graph, in which the communities are
the start; and goes on there. Passes are repeated until one moves nothing. In the refinement a
node joins the part that gains most (theta towards 0 in the paper); chance has its say in the
order of visits only. At the end a community that hangs together by no edge is taken apart,
which by this model never loses.

One run on a component of a dozen nodes often misses the best partition, above all on chains.
Components of up to ``RESTART_EDGES`` edges are therefore solved again and again, until the best
score was met ``AGREED`` times, or ``STARTS`` starts were made; the best answer stands (the first
of equals). Most components agree at once, and the few that do not get the starts saved.

What the score is, and why components are solved one by one, says ``dedup.communities``. Each
component has a random generator of its own, so an answer depends on the component and its
seed alone. igraph's Leiden finds the same scores, within chance, and takes fifteen to
twenty-five times as long for one start; the tests compare with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.adjacency import (
    Adjacency,
    State,
    adjacency,
    connected_groups,
    renumber,
    score,
    shrink,
    shuffled,
)
from dedup.aggregate import Parts
from dedup.arrays import Doubles, Ints

AGREED = 3
STARTS = 10
RESTART_EDGES = 5_000
_TOLERANCE = 1e-10  # a gain must exceed it, so that rounding cannot move a node for ever
_EQUAL = 1e-9  # scores that differ by this share are the same, summed in another order


def solve_cpm(parts: Parts, resolution: float, seeds: NDArray[np.uint64], passes: int) -> Ints:
    """Cut connected graphs into communities.

    Args:
        parts: Graphs; loops do no harm.
        resolution: The g of the model, at least 0.
        seeds: For the generator of each graph, uint64 (parts,).
        passes: At most, at least 1.

    Returns:
        For each node the lowest node of its community, numbered within its graph, int64.
    """
    # Arrays in shared memory may be read-only: for numba another type, compiled once more.
    frozen = {name: each for name, each in vars(parts).items() if not each.flags.writeable}
    parts = replace(parts, **{name: each.copy() for name, each in frozen.items()})
    return _solve_parts(
        parts.node_start,
        parts.edge_start,
        parts.sizes,
        parts.src,
        parts.dst,
        parts.weight,
        np.float64(resolution),
        seeds,
        passes,
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
    seeds: NDArray[np.uint64],
    passes: int,
) -> Ints:
    found = np.empty(len(sizes), np.int64)
    for part in range(len(seeds)):
        first, last = node_start[part], node_start[part + 1]
        start, stop = edge_start[part], edge_start[part + 1]
        graph = adjacency(last - first, src[start:stop], dst[start:stop], weight[start:stop])
        size = np.empty(last - first, np.float64)
        for node in range(last - first):
            size[node] = sizes[first + node]
        state = np.empty(1, np.uint64)
        state[0] = seeds[part]
        best, met = 0.0, 0
        for _ in range(STARTS if stop - start <= RESTART_EDGES else 1):
            member = _run(graph, size, resolution, state, passes)
            now = score(graph, size, member, resolution)
            if met == 0 or now > best + _EQUAL * abs(best):
                best, met = now, 1
                for node in range(last - first):
                    found[first + node] = member[node]
            elif now >= best - _EQUAL * abs(best):
                met += 1
            if met == AGREED:
                break
    return found


@njit(cache=True, nogil=True)
def _run(graph: Adjacency, size: Doubles, resolution: float, state: State, passes: int) -> Ints:
    """The community of each node, by its lowest node."""
    member = np.arange(len(size))
    for _ in range(passes):
        member, moved = _one_pass(graph, size, member, resolution, state)
        if moved == 0:
            break
    return connected_groups(graph, member)


@njit(cache=True, nogil=True)
def _one_pass(
    graph: Adjacency, size: Doubles, member: Ints, resolution: float, state: State
) -> tuple[Ints, int]:
    """Better communities than the given ones, and how many moves it took."""
    count = len(size)
    place = np.arange(count)  # the node of the smaller graph that holds each node
    community = member.copy()
    moved = 0
    while True:
        moved += _move(graph, size, community, resolution, state)
        refined = _refine(graph, size, community, resolution, state)
        part, parts = renumber(refined, len(size))
        if parts == len(size):
            break
        smaller = np.zeros(parts, np.float64)
        above = np.empty(parts, np.int64)
        for node in range(len(size)):
            smaller[part[node]] += size[node]
            above[part[node]] = community[node]
        community, _ = renumber(above, len(size))
        graph, size = shrink(graph, part, parts), smaller
        for node in range(count):
            place[node] = part[place[node]]
    for node in range(count):
        place[node] = community[place[node]]
    member, _ = renumber(place, count)
    return member, moved


@njit(cache=True, nogil=True)
def _move(graph: Adjacency, size: Doubles, community: Ints, resolution: float, state: State) -> int:
    """Move nodes to where they gain most, until none gains; in place. How many moves."""
    starts, ends, _ = graph
    count = len(size)
    total = np.zeros(count, np.float64)
    members = np.zeros(count, np.int64)
    for node in range(count):
        total[community[node]] += size[node]
        members[community[node]] += 1
    spare, spares = np.empty(count, np.int64), 0  # a stack of unused communities
    for node in range(count):
        if members[node] == 0:
            spare[spares] = node
            spares += 1
    linked, seen = np.zeros(count, np.float64), np.empty(count, np.int64)
    queue, waiting = shuffled(count, state), np.ones(count, np.bool_)
    head, length, moved = 0, count, 0
    while length:
        node = queue[head]
        head, length = (head + 1) % count, length - 1
        waiting[node] = False
        own = community[node]
        unused = spare[spares - 1] if members[own] > 1 else own
        best = _best(graph, size, community, total, resolution, node, unused, linked, seen)
        if best == own:
            continue
        moved += 1
        spares -= members[best] == 0
        members[own] -= 1
        members[best] += 1
        total[own] -= size[node]
        total[best] += size[node]
        community[node] = best
        if members[own] == 0:
            spare[spares] = own
            spares += 1
        for at in range(starts[node], starts[node + 1]):
            other = ends[at]
            if community[other] != best and not waiting[other]:
                waiting[other] = True
                queue[(head + length) % count] = other
                length += 1
    return moved


@njit(cache=True, nogil=True)
def _best(
    graph: Adjacency,
    size: Doubles,
    community: Ints,
    total: Doubles,
    resolution: float,
    node: int,
    unused: int,
    linked: Doubles,
    seen: Ints,
) -> int:
    """The community where a node gains most; its own unless another gains more.

    ``unused`` is a community without members, ``linked`` (all 0, and left so) and ``seen`` are
    scratch space.
    """
    starts, ends, weights = graph
    own = community[node]
    found = 0
    for at in range(starts[node], starts[node + 1]):
        other = community[ends[at]]
        if linked[other] == 0.0:
            seen[found] = other
            found += 1
        linked[other] += weights[at]
    stay = linked[own] - resolution * size[node] * (total[own] - size[node])
    best, best_gain = own, stay + _TOLERANCE * max(1.0, abs(stay))
    if unused != own and best_gain < 0.0:
        best, best_gain = unused, 0.0
    for at in range(found):
        other = seen[at]
        gain = linked[other] - resolution * size[node] * total[other]
        if other != own and gain > best_gain:
            best, best_gain = other, gain
        linked[other] = 0.0
    return best


@njit(cache=True, nogil=True)
def _refine(
    graph: Adjacency, size: Doubles, community: Ints, resolution: float, state: State
) -> Ints:
    """Split each community into well-connected parts, by the number of a node inside."""
    count = len(size)
    whole, cut = _inside(graph, size, community)
    part, total = np.arange(count), size.copy()
    alone = np.ones(count, np.bool_)
    linked, seen = np.zeros(count, np.float64), np.empty(count, np.int64)
    for node in shuffled(count, state):
        around = whole[community[node]]
        if not alone[node] or cut[node] < resolution * size[node] * (around - size[node]):
            continue
        found = _link_inside(graph, community, part, node, linked, seen)
        best, best_gain, best_link = node, 0.0, 0.0
        for at in range(found):
            other = seen[at]
            gain = linked[other] - resolution * size[node] * total[other]
            firm = cut[other] >= resolution * total[other] * (around - total[other])
            if firm and gain > best_gain:
                best, best_gain, best_link = other, gain, linked[other]
            linked[other] = 0.0
        if best != node:
            part[node] = best
            alone[best] = False
            total[best] += size[node]
            cut[best] += cut[node] - 2.0 * best_link
    return part


@njit(cache=True, nogil=True)
def _inside(graph: Adjacency, size: Doubles, community: Ints) -> tuple[Doubles, Doubles]:
    """The size of each community, and the weight from each node to the rest of its own."""
    starts, ends, weights = graph
    whole = np.zeros(len(size), np.float64)
    cut = np.zeros(len(size), np.float64)
    for node in range(len(size)):
        whole[community[node]] += size[node]
        for at in range(starts[node], starts[node + 1]):
            if community[ends[at]] == community[node]:
                cut[node] += weights[at]
    return whole, cut


@njit(cache=True, nogil=True)
def _link_inside(
    graph: Adjacency, community: Ints, part: Ints, node: int, linked: Doubles, seen: Ints
) -> int:
    """Sum the weights from a node to the parts of its community; how many were seen."""
    starts, ends, weights = graph
    found = 0
    for at in range(starts[node], starts[node + 1]):
        if community[ends[at]] == community[node]:
            other = part[ends[at]]
            if linked[other] == 0.0:
                seen[found] = other
                found += 1
            linked[other] += weights[at]
    return found
