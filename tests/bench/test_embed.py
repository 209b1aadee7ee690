"""How the embed stage is timed against bare loops: turns, their sum, and the processes."""

import json
import os
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.embed import (
    NAMES,
    Job,
    Loops,
    Turn,
    Worker,
    core_numbers,
    grouped,
    positive,
    save_random,
    speedup,
    summed,
    timed,
)
from tests.conftest import ROOT


def photographs(folder: Path, count: int) -> list[str]:
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (60, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return sorted(str(path) for path in folder.glob("*.jpg"))


def test_the_fastest_turn_of_each_group_counts() -> None:
    turns = [
        [Turn(4.0, 3.0, 0.9), Turn(1.0, 2.0, 0.2), Turn(2.0, 1.5, 0.9)],
        [Turn(3.0, 2.5, 0.4), Turn(6.0, 5.0, 0.9), Turn(4.5, 4.0, 0.9)],
    ]
    found = summed(turns, images=8)
    assert found.images_per_s == pytest.approx(8 / (1 + 3))
    assert found.cpu_ms == pytest.approx(1000 * (1.5 + 2.5) / 8)
    assert found.wait_share == pytest.approx((0.2 * 1 + 0.4 * 3) / 4)
    assert found.spread == pytest.approx((4 / 1 + 6 / 3) / 2)


def test_a_slow_minute_changes_the_spread_alone() -> None:
    quiet = [[Turn(1.0, 1.0, 0.1), Turn(1.0, 1.0, 0.1)] for _ in range(3)]
    noisy = [[quiet[0][0], Turn(1.5, 1.4, 0.3)], [Turn(1.6, 1.2, 0.0), quiet[1][1]], quiet[2]]
    assert summed(noisy, 6)[:3] == summed(quiet, 6)[:3]
    assert (summed(quiet, 6).spread, summed(noisy, 6).spread) == (1.0, 1.5)


def test_turns_of_the_same_minute_are_compared() -> None:
    pace = [1.0, 1.7, 1.0, 2.5, 1.3]  # of the machine, from round to round
    stage = [[Turn(2.0 * each, 1.0, 0.0) for each in pace] for _ in range(2)]
    bare = [[Turn(1.8 * each, 1.0, 0.0) for each in pace] for _ in range(2)]
    assert speedup(stage, bare) == pytest.approx(0.9)
    bare[0][1] = Turn(100.0, 1.0, 0.0)  # something else ran
    assert speedup(stage, bare) == pytest.approx(0.9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 9), st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_groups_keep_all_images_and_give_each_thread_whole_batches(
    count: int, batch_size: int, cores: list[int]
) -> None:
    paths = [str(number) for number in range(count)]
    groups = grouped(paths, batch_size, cores)
    assert [path for group in groups for path in group] == paths
    for group in groups[:-1]:
        assert all(len(group) % (batch_size * each) == 0 for each in cores)
    assert 0 < len(groups[-1]) <= batch_size * np.lcm.reduce(cores)


def test_wrong_numbers_are_named_with_their_limit() -> None:
    there = len(os.sched_getaffinity(0))
    assert core_numbers("1,1") == [1]
    assert core_numbers(f"{there},1") == sorted({1, there})
    with pytest.raises(ArgumentTypeError, match=rf"in \[1, {there}\], got {there + 1}"):
        core_numbers(f"1,{there + 1}")
    for wrong in ("0", "-1", "two", ""):
        with pytest.raises(ArgumentTypeError, match=f"at least 1, got '{wrong}'"):
            positive(wrong)


def test_a_process_that_dies_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    job = Job("ViT-S-32-alt", str(tmp_path / "weights.pt"), 0, 2, [["0.jpg"]])  # on no core
    with Worker(job, tmp_path) as worker:
        for ask in (worker.wait_ready, partial(worker.turns, 0, 0)):
            with pytest.raises(SystemExit) as raised:
                ask()
            said = str(raised.value.code)
            assert said.startswith("the process for 0 cores ended with code 1:\nTraceback")
            assert "sched_setaffinity" in said
            assert "Invalid argument" in said.splitlines()[-1]


def test_the_three_loops_take_a_turn_and_a_stage_that_skips_images_is_refused(
    tmp_path: Path,
) -> None:
    import open_clip
    import torch

    tower = {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    architecture = {"embed_dim": 32, "vision_cfg": tower, "text_cfg": text}
    (tmp_path / "bench-tiny.json").write_text(json.dumps(architecture))
    open_clip.add_model_config(tmp_path / "bench-tiny.json")
    save_random("bench-tiny", tmp_path / "weights.pt")
    paths = photographs(tmp_path, 5)
    threads = torch.get_num_threads()
    try:
        loops = Loops(Job("bench-tiny", str(tmp_path / "weights.pt"), 1, 2, [paths]))
        calls = loops.over(paths)
        turns = {name: timed(call) for name, call in calls.items()}
        assert set(turns) == set(NAMES)
        assert all(turn.seconds > 0 and turn.cpu_seconds > 0 for turn in turns.values())
        assert 0 < turns["stage"].wait_share < 1
        assert turns["bare"].wait_share == turns["model"].wait_share == 0
        Path(paths[3]).write_bytes(b"no picture")
        with pytest.raises(RuntimeError, match=r"not embedded: .*3\.jpg"):
            calls["stage"]()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_run_prints_rates_and_its_exit_code_says_whether_a_bound_is_missed(
    tmp_path: Path,
) -> None:
    photographs(tmp_path, 3)
    cores = core_numbers("1,2") if len(os.sched_getaffinity(0)) > 1 else [1]
    command = [sys.executable, str(ROOT / "bench" / "embed.py"), "--model", "ViT-S-32-alt"]
    command += ["--folder", str(tmp_path), "--images", "6", "--batch-size", "2", "--rounds", "2"]
    command += ["--cores", ",".join(map(str, cores))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stderr == ""
    assert f"6 images in groups of {2 * cores[-1]}, batches of 2" in done.stdout
    rates = re.findall(
        r"(\d) cores: stage ([\d.]+), bare ([\d.]+), model ([\d.]+) images/s; stage/bare ([\d.]+)x",
        done.stdout,
    )
    assert [int(each[0]) for each in rates] == cores
    fastest = re.findall(r"by the fastest turns: ([\d.]+)x", done.stdout)
    for (_, stage, bare, model, ratio), least in zip(rates, fastest, strict=True):
        assert float(model) > 0
        assert float(ratio) > 0
        assert float(least) == pytest.approx(float(stage) / float(bare), abs=0.02)
    for kind in ("CPU ms an image", "slowest over fastest turn, median of the groups"):
        shown = re.findall(rf"{kind}: (.*)", done.stdout)
        assert [re.findall(r"[a-z]+(?= [\d.]+)", each) for each in shown] == [list(NAMES)] * len(
            cores
        )
    assert done.returncode == ("MISSED" in done.stdout)
