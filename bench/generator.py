"""The embedded S3-DiT against diffusers' ZImageTransformer2DModel: same weights, same inputs.

Both models stand in one process and take turns, so whatever else the machine does falls on both;
the figure is the median of the ratios of neighbouring turns, with its quartiles. A ratio below 1
means that ours is faster. On one thread of a CPU the time is the process's own. Outputs are
compared before anything is timed. Bounds are printed, and 1 is the exit code where one is missed.

    python bench/generator.py                          # three sizes, CPU, one thread
    python bench/generator.py --sizes 128,256 --turns 15
    python bench/generator.py --device cuda --precision bf16 --sizes 1024
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

# This folder would hide the package ``generator`` behind this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import torch
from torch import Tensor

from generator import S3DiT, S3DiTConfig
from generator.sampler import TURBO, draw_noise, sample

#: Layers, refiner layers and heads for each width.
SHAPES = {64: (3, 2, 2), 128: (4, 1, 4), 256: (6, 2, 4), 384: (12, 2, 6), 1024: (8, 2, 8)}
#: Height and width of latents, and tokens of captions.
BATCHES = {
    "even": ([(16, 16)] * 8, [20] * 8),
    "mixed": ([(16, 16), (12, 16), (8, 8), (16, 20)] * 2, [20, 33, 70, 5] * 2),
}
#: A ratio that is not above this counts as at least as fast: the noise of the median.
BOUND = 1.0
WALL = time.perf_counter


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs.

    Args:
        ours: Seconds, median.
        theirs: Seconds, median.
        low: First quartile of the ratios.
        middle: Their median.
        high: Third quartile.
    """

    ours: float
    theirs: float
    low: float
    middle: float
    high: float


def parse_arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="64,128,256", help=f"widths, of {list(SHAPES)}")
    parser.add_argument("--turns", type=int, default=9, help="of each, at least 3")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    arguments.sizes = [int(size) for size in arguments.sizes.split(",")]
    unknown = set(arguments.sizes) - set(SHAPES)
    if unknown or arguments.turns < 3:
        parser.error(f"sizes must be of {list(SHAPES)} and turns at least 3")
    return arguments


def configuration(dim: int) -> S3DiTConfig:
    """A model of this width; rotary axes about in the published proportion."""
    layers, refiners, heads = SHAPES[dim]
    turned = dim // heads * 3 // 8 // 2 * 2
    return S3DiTConfig(
        dim=dim,
        n_layers=layers,
        n_refiner_layers=refiners,
        n_heads=heads,
        n_kv_heads=heads,
        cap_feat_dim=64,
        axes_dims=(dim // heads - 2 * turned, turned, turned),
        axes_lens=(512, 64, 64),
    )


def make_models(config: S3DiTConfig, device: str, dtype: torch.dtype) -> tuple[S3DiT, Any]:
    """Ours and theirs with the same random weights."""
    import diffusers

    diffusers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    ours = S3DiT(config)
    theirs: Any = diffusers.ZImageTransformer2DModel(**config.to_dict())
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours.to(device, dtype).eval(), theirs.to(device, dtype).eval()


def make_inputs(
    batch: str, config: S3DiTConfig, device: str, dtype: torch.dtype
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """Latents, times and captions."""
    shapes, lengths = BATCHES[batch]
    torch.manual_seed(1)
    latents = [torch.randn(config.in_channels, 1, *shape) for shape in shapes]
    captions = [torch.randn(length, config.cap_feat_dim) for length in lengths]
    times = torch.rand(len(shapes)).to(device)
    return (
        [each.to(device, dtype) for each in latents],
        times,
        [each.to(device, dtype) for each in captions],
    )


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds of one call; of this process's own on one thread, which neighbours cannot take."""
    if device != "cpu":
        torch.cuda.synchronize()
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else WALL
    start = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def in_turns(
    ours: Callable[[], object], theirs: Callable[[], object], turns: int, device: str
) -> Ratio:
    """Time both, one after the other, the first of a pair changing."""
    for work in (ours, theirs):
        work()
    pairs = []
    for turn in range(turns):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        first, second = (timed(work, device) for work in order)
        pairs.append((first, second) if turn % 2 else (second, first))
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    own, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Ratio(own, other, low, middle, high)


def saved_bytes(work: Callable[[], Sequence[Tensor]]) -> int:
    """Bytes that a forward pass keeps for the backward one, each storage once."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = work()
        total = sum(seen.values())
    del kept
    return total


def compare(dim: int, batch: str, arguments: argparse.Namespace) -> list[tuple[str, bool]]:
    """One size and one batch: prints a line each for forward and training step."""
    device = arguments.device
    dtype = torch.float32 if arguments.precision == "fp32" else torch.bfloat16
    config = configuration(dim)
    ours, theirs = make_models(config, device, dtype)
    inputs = make_inputs(batch, config, device, dtype)

    def forward_ours() -> list[Tensor]:
        return ours(*inputs)

    def forward_theirs() -> list[Tensor]:
        return theirs(*inputs, return_dict=False)[0]

    def step(model: torch.nn.Module, forward: Callable[[], list[Tensor]]) -> None:
        model.zero_grad(set_to_none=True)
        torch.stack([each.float().square().mean() for each in forward()]).mean().backward()

    with torch.no_grad():
        pairs = zip(forward_ours(), forward_theirs(), strict=True)
        difference = max(float((a - b).abs().max()) for a, b in pairs)
        forward = in_turns(forward_ours, forward_theirs, arguments.turns, device)
    train = in_turns(
        lambda: step(ours, forward_ours),
        lambda: step(theirs, forward_theirs),
        arguments.turns,
        device,
    )
    memory = saved_bytes(forward_ours) / saved_bytes(forward_theirs)
    checks = []
    for name, ratio in (("forward", forward), ("training step", train)):
        held = ratio.middle <= BOUND
        print(
            f"dim {dim:>4} {batch:<5} {name:<13} {ratio.ours * 1e3:9.1f} ms, diffusers "
            f"{ratio.theirs * 1e3:9.1f} ms, ratio {ratio.middle:.2f} "
            f"({ratio.low:.2f} to {ratio.high:.2f})"
        )
        checks.append((f"dim {dim} {batch} {name}: ratio {ratio.middle:.2f} <= {BOUND}", held))
    print(f"dim {dim:>4} {batch:<5} kept for the backward pass: ratio {memory:.2f}", end="")
    print(f"; outputs differ by {difference:.1e}")
    if arguments.precision == "fp32" and device == "cpu":
        checks.append((f"dim {dim} {batch}: outputs within 1e-5", difference <= 1e-5))
    return checks


def sampling(dim: int, arguments: argparse.Namespace) -> None:
    """Print images/s at 8 steps, batches of 8."""
    dtype = torch.float32 if arguments.precision == "fp32" else torch.bfloat16
    config = configuration(dim)
    ours, theirs = make_models(config, arguments.device, dtype)
    _, _, captions = make_inputs("even", config, arguments.device, dtype)
    noise = draw_noise(range(8), [(config.in_channels, 1, 16, 16)] * 8)

    @torch.no_grad()
    def by_hand() -> None:
        latents = [each.to(arguments.device) for each in noise]
        levels = TURBO.schedule().tolist()
        for level, following in pairwise(levels):
            times = torch.full((8,), 1 - level, device=arguments.device)
            found = theirs([each.to(dtype) for each in latents], times, captions, False)[0]
            latents = [a + (level - following) * v for a, v in zip(latents, found, strict=True)]

    turns = max(3, arguments.turns // 2)
    ratio = in_turns(lambda: sample(ours, noise, captions), by_hand, turns, arguments.device)
    print(
        f"dim {dim:>4} 8 steps, 16 x 16 latents: {8 / ratio.ours:.1f} images/s, diffusers' model "
        f"in the same loop {8 / ratio.theirs:.1f}, ratio of times {ratio.middle:.2f}"
    )


def main() -> int:
    """Measure, print the bounds; 1 where one is missed."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    checks = []
    for dim in arguments.sizes:
        parameters = sum(each.numel() for each in S3DiT(configuration(dim)).parameters())
        print(f"dim {dim}: {parameters:,} parameters, {arguments.device}, {arguments.precision}")
        for batch in BATCHES:
            checks += compare(dim, batch, arguments)
        sampling(dim, arguments)
    for text, held in checks:
        print(f"{text} {'held' if held else 'MISSED'}")
    return 0 if all(held for _, held in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
