"""Winnow's embedded copy detector against pHash, imagededup's hashes and fastdup.

Sets of near-copies are made by make_neardups.py from the photographs that training/copydetect
held out, and the groups as found come beside them. Every peer works on the same files in the
same run, in a process of its own, on one thread; images/s are per second of a core, from files to
features. Figures are over all pairs of a set: micro-AP, recall at precision 0.98 and 0.90, recall
by transform and by strength at the first of these. Bounds are printed, and 1 is the exit code
where one is missed.

    python bench/copydetect.py
    python bench/copydetect.py --fastdup-python VENV/bin/python --peers-python VENV/bin/python
    python bench/copydetect.py --seeds one,two,three --sources 140 --copies 5 --distractors 90

fastdup, imagehash and imagededup want older libraries than Winnow does, so each may have a Python
of its own; a peer that is not installed is left out, and that is said. The sets are kept in
``--folder`` and used again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

# This folder would hide packages behind its files.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from bench.peers.copyfeatures import FASTDUP, OURS, PEERS, Features, compute
from bench.peers.copyscore import Curve, curve, joined, pairs_of, recall_by
from bench.peers.copysets import CopySet, found_copies, link_photos, make_copies
from bench.peers.launch import PeerFailed
from stages.dedup import DedupSettings
from training.copydetect.split import read_split

SHARED = ROOT.parent / "shared"
HARD = "dreambooth_subjects"
PRECISION = 0.98
AVERAGE_PRECISION, RECALL, FOUND_PRECISION = 0.95, 0.85, 0.95


@dataclass(frozen=True)
class Result:
    """One peer on all made sets together, and on the set as found.

    Args:
        made: Its curve over the pairs of all made sets.
        found: Its curve on the set as found.
        rate: Images/s of a core on the made sets.
        by_kind: Recall by transform and strength at the threshold of precision 0.98.
    """

    made: Curve
    found: Curve
    rate: float
    by_kind: dict[str, tuple[float, int]]

    @property
    def threshold(self) -> float:
        """The lowest at precision 0.98 on the made sets."""
        return self.made.at_precision(PRECISION)[1]


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--tool", type=Path, default=SHARED / "tools" / "make_neardups.py")
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "bench" / "copydetect")
    parser.add_argument("--seeds", default="copies-1,copies-2,copies-3")
    parser.add_argument("--sources", type=int, default=140)
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--distractors", type=int, default=90)
    parser.add_argument("--peers", default=",".join(PEERS), help="default: all of %(default)s")
    parser.add_argument("--fastdup-python", default="", help="a Python that has fastdup")
    parser.add_argument("--peers-python", default="", help="one with imagehash and imagededup")
    parser.add_argument(
        "--threshold",
        type=float,
        default=DedupSettings.model_fields["threshold"].default,
        help="default: %(default)s, that of the default configuration",
    )
    return parser.parse_args()


def main() -> None:
    """Make the sets, run the peers, print."""
    options = parse_arguments()
    made = made_sets(options)
    found = found_copies(options.data / "neardup_real")
    sizes = ", ".join(f"{each.name} {len(each.truth)}" for each in [*made, found])
    print(f"pictures: {sizes}\n", flush=True)
    results: dict[str, Result] = {}
    for peer in options.peers.split(","):
        try:
            results[peer] = measure(peer, made, found, options)
        except PeerFailed as error:
            print(f"left out: {error}\n", flush=True)
            continue
        print_line(peer, results[peer], header=len(results) == 1)
    print_kinds(results)
    if OURS in results:
        print_curve(results[OURS])
        sys.exit(0 if print_bounds(results, options.threshold) else 1)


def made_sets(options: argparse.Namespace) -> list[CopySet]:
    """The sets of near-copies, one a seed."""
    folders = link_photos(options.data, read_split("test"), options.folder / "photos")
    sources = [folder for folder in folders if folder.name != HARD]
    hard = [folder for folder in folders if folder.name == HARD]
    counts = {name: getattr(options, name) for name in ("sources", "copies", "distractors")}
    tag = "-".join(str(count) for count in counts.values())
    return [
        make_copies(options.tool, sources, hard, options.folder / f"{seed}-{tag}", seed, counts)
        for seed in options.seeds.split(",")
    ]


def measure(peer: str, made: list[CopySet], found: CopySet, options: argparse.Namespace) -> Result:
    """Run one peer on all sets.

    Raises:
        PeerFailed: If it is not installed or fails.
    """
    python = {OURS: sys.executable, FASTDUP: options.fastdup_python}.get(peer, options.peers_python)
    work = options.folder / "features"
    features = [compute(peer, each, python, work) for each in made]
    similar = [each.similar() for each in features]
    whole = curve(joined([pairs_of(s, c.groups) for s, c in zip(similar, made, strict=True)]))
    threshold = whole.at_precision(PRECISION)[1]
    kinds = [recall_by(s, c.truth, threshold) for s, c in zip(similar, made, strict=True)]
    of_found = compute(peer, found, python, work).similar()
    return Result(whole, curve(pairs_of(of_found, found.groups)), rate(features), merged(kinds))


def rate(features: list[Features]) -> float:
    """Images/s of a core over all sets."""
    return sum(len(each.rows) for each in features) / sum(each.cores for each in features)


def merged(parts: list[dict[str, tuple[float, int]]]) -> dict[str, tuple[float, int]]:
    """Shares of several sets as one."""
    result = {}
    for name in sorted({name for part in parts for name in part}):
        each = [part[name] for part in parts if name in part]
        count = sum(n for _, n in each)
        result[name] = (sum(share * n for share, n in each) / count, count)
    return result


def print_line(peer: str, result: Result, *, header: bool) -> None:
    """One peer's line."""
    if header:
        print("                   micro-AP  R@P98  R@P90  threshold  images/s/core  as found: P, R")
    precision, recall = result.found.at_threshold(result.threshold)
    print(
        f"{peer:18} {result.made.average_precision():9.3f} "
        f"{result.made.at_precision(PRECISION)[0]:6.3f} {result.made.at_precision(0.9)[0]:6.3f} "
        f"{result.threshold:10.3f} {result.rate:14.1f}  {precision:13.3f}, {recall:.3f}",
        flush=True,
    )


def print_kinds(results: dict[str, Result]) -> None:
    """Recall by transform and strength, a column a peer."""
    shown = [peer for peer in PEERS if peer in results]
    print(f"\nrecall at each one's threshold of precision {PRECISION}")
    print(f"{'':16}{'pairs':>7}" + "".join(f"{peer.split()[-1]:>10}" for peer in shown))
    for kind in results[shown[0]].by_kind if shown else ():
        shares = [results[peer].by_kind[kind][0] for peer in shown]
        count = results[shown[0]].by_kind[kind][1]
        print(f"{kind:16}{count:7}" + "".join(f"{share:10.3f}" for share in shares))


def print_curve(ours: Result) -> None:
    """Precision and recall of the embedder by threshold."""
    print(f"\n{OURS} by threshold:  made: P, R    as found: P, R")
    for step in range(70, 100, 2):
        threshold = step / 100
        made, found = ours.made.at_threshold(threshold), ours.found.at_threshold(threshold)
        print(f"{threshold:20.2f}  {made[0]:.4f}, {made[1]:.4f}  {found[0]:.4f}, {found[1]:.4f}")


def print_bounds(results: dict[str, Result], threshold: float) -> bool:
    """Print the bounds; whether all hold."""
    ours = results[OURS]
    average, recall = ours.made.average_precision(), ours.made.at_precision(PRECISION)[0]
    made, found = ours.made.at_threshold(threshold)[0], ours.found.at_threshold(threshold)[0]
    bounds = [
        ("micro-AP", average, AVERAGE_PRECISION),
        (f"recall at precision {PRECISION}", recall, RECALL),
        (f"precision on the made sets at {threshold:.3f}", made, PRECISION),
        (f"precision as found at {threshold:.3f}", found, FOUND_PRECISION),
    ]
    if FASTDUP in results:
        peer = results[FASTDUP]
        bounds += [
            ("micro-AP over fastdup's", average / peer.made.average_precision(), 1.0),
            (
                "recall over fastdup's",
                recall / max(peer.made.at_precision(PRECISION)[0], 1e-9),
                1.0,
            ),
            ("images/s per core over fastdup's", ours.rate / peer.rate, 1.0),
        ]
    print()
    for text, value, least in bounds:
        held = value >= least
        print(f"{'held  ' if held else 'MISSED'} {text}: {value:.3f}, at least {least}")
    return all(value >= least for _, value, least in bounds)


if __name__ == "__main__":
    main()
