"""Write the weights that ship: ``python -m training.copydetect.export --work FOLDER``.

Takes the averaged weights of the checkpoint, folds every norm into the convolution before it,
and keeps them as float16.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from stages.embedders.builtin import WEIGHTS
from stages.embedders.copynet import CopyNet


def export(checkpoint: Path, out: Path) -> int:
    """Write ``out`` from a checkpoint; the steps that this was trained for."""
    state = torch.load(checkpoint)
    net = CopyNet()
    net.load_state_dict(state["average"])
    folded = net.eval().folded().state_dict()
    halves = {name: values.half().contiguous() for name, values in folded.items()}
    save_file(halves, out, metadata={"step": str(state["step"])})
    return int(state["step"])


def main() -> None:
    """Export the checkpoint of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of the run")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    step = export(options.work / "checkpoint.pt", options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, step {step}")  # noqa: T201


if __name__ == "__main__":
    main()
