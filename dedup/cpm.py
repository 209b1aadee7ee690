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
seed alone. Weights are added in the order of the edges, whatever is done to be fast: rounding,
too, is part of the answer. igraph's Leiden finds the same scores, within chance, and takes
twenty to thirty times as long for one start; the tests compare with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from dedup.adjacency import (
    FRESH,
    MOST_NODES,
    WAITING,
    Desk,
    Graph,
    Nodes,
    State,
    connected_groups,
    fill_graph,
    new_desk,
    new_graph,
    renumber,
    score,
    shrink,
    shuffle,
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

    Raises:
        ValueError: If a graph has more nodes than 32 bits can number.
    """
    longest = int(np.diff(parts.node_start).max(initial=0))
    if longest > MOST_NODES:
        raise ValueError(f"a component may have at most {MOST_NODES} nodes, got {longest}")
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
    nodes, edges = _longest(node_start), _longest(edge_start)
    graph, desk = new_graph(nodes, edges), new_desk(nodes)
    smaller = (new_graph(nodes, edges), new_graph(nodes, edges))
    state, best = np.empty(1, np.uint64), np.empty(nodes, np.uint32)
    for part in range(len(seeds)):
        first, count = node_start[part], node_start[part + 1] - node_start[part]
        start, stop = edge_start[part], edge_start[part + 1]
        fill_graph(graph, count, src[start:stop], dst[start:stop], weight[start:stop])
        for node in range(count):
            graph.sizes[node] = sizes[first + node]
        state[0] = seeds[part]
        starts = STARTS if stop - start <= RESTART_EDGES else 1
        _best_start(graph, smaller, count, resolution, state, passes, starts, desk, best)
        for node in range(count):
            found[first + node] = best[node]
    return found


@njit(cache=True, nogil=True)
def _longest(start: Ints) -> int:
    most = 0
    for part in range(len(start) - 1):
        most = max(most, start[part + 1] - start[part])
    return most


@njit(cache=True, nogil=True)
def _best_start(
    graph: Graph,
    smaller: tuple[Graph, Graph],
    count: int,
    resolution: float,
    state: State,
    passes: int,
    starts: int,
    desk: Desk,
    best: Nodes,
) -> None:
    """The best answer of several starts, into ``best``."""
    _run(graph, smaller, count, resolution, state, passes, desk, best)
    most, scored, met = 0.0, False, 1
    member = desk.member
    for _ in range(starts - 1):
        _run(graph, smaller, count, resolution, state, passes, desk, member)
        if _equal(member, best, count):  # most often; then so are the scores
            met += 1
        else:
            if not scored:
                most, scored = score(graph, count, best, resolution, desk.total), True
            now = score(graph, count, member, resolution, desk.total)
            if now > most + _EQUAL * abs(most):
                most, met = now, 1
                for node in range(count):
                    best[node] = member[node]
            elif now >= most - _EQUAL * abs(most):
                met += 1
        if met == AGREED:
            break


@njit(cache=True, nogil=True)
def _equal(one: Nodes, other: Nodes, count: int) -> bool:
    node = 0
    while node < count and one[node] == other[node]:
        node += 1
    return node == count


@njit(cache=True, nogil=True)
def _run(
    graph: Graph,
    smaller: tuple[Graph, Graph],
    count: int,
    resolution: float,
    state: State,
    passes: int,
    desk: Desk,
    member: Nodes,
) -> None:
    """The community of each node, by its lowest node, into ``member``."""
    for node in range(count):
        member[node] = node
    for _ in range(passes):
        if _one_pass(graph, smaller, count, member, resolution, state, desk) == 0:
            break
    community = desk.community
    for node in range(count):
        community[node] = member[node]
    connected_groups(graph, count, community, member, desk)


@njit(cache=True, nogil=True)
def _one_pass(
    graph: Graph,
    smaller: tuple[Graph, Graph],
    count: int,
    member: Nodes,
    resolution: float,
    state: State,
    desk: Desk,
) -> int:
    """Make communities better, in place. How many moves it took."""
    community, part, place, number = desk.community, desk.part, desk.place, desk.number
    for node in range(count):
        community[node] = member[node]
        place[node] = node
    left, level, moved = count, 0, 0
    while True:
        moved += _move(graph, left, resolution, state, desk)
        _refine(graph, left, resolution, state, desk)
        parts = renumber(part, left, left, number)
        if parts == left:
            break
        shrink(graph, left, part, parts, smaller[level % 2], desk)
        for node in range(left):  # no part has a higher number than its nodes
            community[part[node]] = community[node]
        renumber(community, parts, left, number)
        for node in range(count):
            place[node] = part[place[node]]
        graph, left, level = smaller[level % 2], parts, level + 1
    for node in range(count):
        member[node] = community[place[node]]
    renumber(member, count, count, number)
    return moved


@njit(cache=True, nogil=True)
def _move(graph: Graph, count: int, resolution: float, state: State, desk: Desk) -> int:
    """Move nodes to where they gain most, until none gains; in place. How many moves.

    Leaves the sizes of the communities, and the weight from each ``fresh`` node to its own.
    """
    sizes, community, cut = graph.sizes, desk.community, desk.cut
    total, members, spare = desk.whole, desk.number, desk.spare
    queue, mark = desk.order, desk.mark
    spares = _count_members(graph, count, desk)
    shuffle(queue, count, state)
    ring = np.uint32(len(queue) - 1)  # the queue goes round; its length is a power of two
    head, tail, moved = 0, count, 0
    while head < tail:
        node = queue[np.uint32(head) & ring]
        head += 1
        mark[node] = FRESH
        own = community[node]
        unused = spare[spares - 1] if members[own] > 1 else own
        best, cut[node] = _best(graph, resolution, node, unused, desk)
        if best == own:
            continue
        moved += 1
        spares -= members[best] == 0
        members[own] -= 1
        members[best] += 1
        total[own] -= sizes[node]
        total[best] += sizes[node]
        community[node] = best
        if members[own] == 0:
            spare[spares] = own
            spares += 1
        tail = _wake(graph, node, tail, desk)
    return moved


@njit(cache=True, nogil=True, forceinline=True)
def _count_members(graph: Graph, count: int, desk: Desk) -> int:
    """Set up the sizes of communities and the stack of unused ones; how many are unused."""
    total, members, spare, mark = desk.whole, desk.number, desk.spare, desk.mark
    community, sizes = desk.community, graph.sizes
    for node in range(count):
        total[node], members[node], mark[node] = 0.0, 0, WAITING
    for node in range(count):
        total[community[node]] += sizes[node]
        members[community[node]] += 1
    spares = 0
    for node in range(count):
        if members[node] == 0:
            spare[spares] = node
            spares += 1
    return spares


@njit(cache=True, nogil=True, forceinline=True)
def _wake(graph: Graph, node: int, tail: int, desk: Desk) -> int:
    """Queue the neighbours of a node that moved, but for those it joined; the new tail."""
    starts, ends, _, _ = graph
    queue, mark, community = desk.order, desk.mark, desk.community
    ring, best, place = np.uint32(len(queue) - 1), community[node], np.int64(tail)
    # Without branches, which would be guessed wrong often. One place of the queue is always free.
    for at in range(starts[node], starts[node + 1]):
        other = ends[at]
        before = mark[other]
        after = before & WAITING if community[other] == best else before | WAITING
        mark[other] = after
        queue[np.uint32(place) & ring] = other
        place += np.int64((before ^ after) & WAITING)
    return int(place)


@njit(cache=True, nogil=True, forceinline=True)
def _best(graph: Graph, resolution: float, node: int, unused: int, desk: Desk) -> tuple[int, float]:
    """The community where a node gains most, and the weight to it.

    Its own unless another gains more. ``unused`` is a community without members.
    """
    linked, seen, total, size = desk.linked, desk.seen, desk.whole, graph.sizes[node]
    own = desk.community[node]
    found = _link(graph, desk.community, node, own, linked, seen)
    price = resolution * size
    link = linked[own]
    stay = link - price * (total[own] - size)
    best, best_gain = own, stay + _TOLERANCE * max(1.0, abs(stay))
    if unused != own and best_gain < 0.0:
        best, best_gain, link = unused, 0.0, 0.0
    for at in range(found):
        other = seen[at]
        gain = linked[other] - price * total[other]
        if other != own and gain > best_gain:
            best, best_gain, link = other, gain, linked[other]
        linked[other] = 0.0
    return best, link


@njit(cache=True, nogil=True, forceinline=True)
def _link(
    graph: Graph, label: Nodes, node: int, likely: int, linked: Doubles, seen: Nodes
) -> np.uint64:
    """Sum the weights from a node by the label of the other end; how many labels were seen.

    Most ends bear the ``likely`` label. Their sum is kept in a register, for memory takes
    twice as long to add to; and nothing branches, for the guess would often be wrong.
    """
    starts, ends, weights, _ = graph
    nowhere = np.uint32(len(linked) - 1)
    found, total = np.uint64(0), 0.0
    for at in range(starts[node], starts[node + 1]):
        other = label[ends[at]]
        same = other == likely
        before = total if same else linked[other]
        seen[found] = other
        found += np.uint64(before == 0.0)
        linked[nowhere if same else other] = before + weights[at]
        total += weights[at] if same else 0.0
    linked[nowhere] = 0.0
    linked[likely] = total
    return found


@njit(cache=True, nogil=True)
def _refine(graph: Graph, count: int, resolution: float, state: State, desk: Desk) -> None:
    """Split each community into well-connected parts, by the number of a node inside."""
    sizes, community, linked, seen = graph.sizes, desk.community, desk.linked, desk.seen
    part, alone, total, cut, growing = desk.part, desk.alone, desk.total, desk.cut, desk.spare
    order, whole = desk.order, desk.whole
    _cut_stale(graph, count, desk)
    for node in range(count):
        part[node], alone[node], total[node] = node, True, sizes[node]
        growing[node] = len(linked) - 1
    shuffle(order, count, state)
    for at in range(count):
        node = order[at]
        own, size = community[node], sizes[node]
        around, price = whole[own], resolution * size
        if not alone[node] or cut[node] < price * (around - size):
            continue
        found = _link(graph, part, node, growing[own], linked, seen)
        best, best_gain, best_link = node, 0.0, 0.0
        for which in range(found):
            other = seen[which]
            gain = linked[other] - price * total[other]
            if (
                gain > best_gain
                and community[other] == own
                and cut[other] >= resolution * total[other] * (around - total[other])
            ):
                best, best_gain, best_link = other, gain, linked[other]
            linked[other] = 0.0
        if best != node:
            part[node] = growing[own] = best
            alone[best] = False
            total[best] += size
            cut[best] += cut[node] - 2.0 * best_link


@njit(cache=True, nogil=True, forceinline=True)
def _cut_stale(graph: Graph, count: int, desk: Desk) -> None:
    """The weight from a node to the rest of its own community, where it is not known."""
    starts, ends, weights, _ = graph
    community, mark, cut = desk.community, desk.mark, desk.cut
    for node in range(count):
        if mark[node] != FRESH:
            own, total = community[node], 0.0
            for at in range(starts[node], starts[node + 1]):
                total += weights[at] if community[ends[at]] == own else 0.0
            cut[node] = total
