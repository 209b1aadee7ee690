"""``winnow generator``: shards in, a folder out, pictures from it, and what goes wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from generator import S3DiT
from generator.recipes import embedded
from generator.text_to_image import TextToImage
from pipeline.cli import app
from pipeline.console import Exit
from pipeline.generating.drawing import parse_size, sampling, sheet
from pipeline.generating.runs import Progress
from stages.contract import ConfigurationError
from tests.generator.official import make_official
from tests.stages.test_shard import make_corpus, write


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def winnow(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["generator", *(str(each) for each in arguments)])


def text(result: Result) -> str:
    return " ".join(result.output.split())


def picture(number: int) -> bytes:
    import io

    stream = io.BytesIO()
    Image.new("RGB", (40, 32), (60 * number, 90, 30)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures in shards that the stage itself wrote."""
    made = make_corpus(tmp_path_factory.mktemp("shards"), [picture(each) for each in range(4)])
    write(made)
    return Path(made.uri)


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "model"
    result = winnow("train", corpus, "-o", folder, "--steps", 2, "--batch", 2, "--device", "cpu")
    assert result.exit_code == Exit.DONE, result.output
    assert "2 updates in" in text(result)
    return folder


@pytest.mark.parametrize("command", ["train", "distil", "sample"])
def test_every_command_shows_an_example(command: str) -> None:
    result = winnow(command, "--help")
    assert result.exit_code == Exit.DONE
    assert f"winnow generator {command}" in result.output.split("Example", 1)[1]


def test_a_trained_folder_holds_all_that_sampling_needs(trained: Path, tmp_path: Path) -> None:
    kept = tmp_path / "moved"
    shutil.copytree(trained, kept, ignore=shutil.ignore_patterns("run"))
    files = {each.relative_to(kept).as_posix() for each in kept.rglob("*") if each.is_file()}
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert files == {"winnow.json", "transformer/config.json", weights}
    ways = json.loads((kept / "winnow.json").read_text())
    sampler = embedded().sampler
    assert (ways["sampler"]["steps"], ways["sampler"]["guidance"]) == (sampler.steps, 0)
    done = winnow("sample", kept, "a red circle", "two", "-o", tmp_path / "a.png", "--steps", 2)
    assert done.exit_code == Exit.DONE, done.output
    height, width = ways["size"]
    assert Image.open(tmp_path / "a.png").size == (2 * width, height)
    assert f"2 pictures of {height} x {width}" in text(done)


def test_a_seed_gives_a_picture_whatever_is_drawn_beside_it(trained: Path, tmp_path: Path) -> None:
    def drawn(name: str, *arguments: object) -> np.ndarray:
        path = tmp_path / name
        result = winnow("sample", trained, *arguments, "-o", path, "--steps", 2, "--columns", 1)
        assert result.exit_code == Exit.DONE, result.output
        return np.asarray(Image.open(path)).astype(int)

    both = drawn("both.png", "one", "other", "--seed", 5)
    other = drawn("other.png", "other", "--seed", 6)
    half = len(both) // 2
    assert np.abs(both[half:] - other).max() <= 1
    assert np.abs(both[:half] - other).max() > 1
    guided = drawn("guided.png", "other", "--seed", 6, "--guidance", 1)
    assert np.abs(guided - other).max() > 0
    led = drawn("led.png", "other", "--seed", 6, "--guidance", 1, "--negative", "one")
    assert np.abs(led - guided).max() > 0


def test_the_same_command_goes_on_and_another_is_refused(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained, folder)
    arguments = ("train", corpus, "-o", folder, "--batch", 2, "--device", "cpu", "--steps", 2)
    again = winnow(*arguments)
    assert again.exit_code == Exit.DONE, again.output
    assert text(again).startswith("0 updates in")
    other = winnow(*arguments, "--seed", 1)
    assert other.exit_code == Exit.USAGE
    assert "seed was 0, is 1" in text(other)


def test_a_student_draws_in_few_steps_without_guidance(
    corpus: Path, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "fast"
    result = winnow(
        *("distil", trained, corpus, "-o", folder, "--steps", 1, "--batch", 2),
        *("--student-steps", 3, "--shift", 2, "--device", "cpu"),
    )
    assert result.exit_code == Exit.DONE, result.output
    assert "draws in 3 steps, no guidance" in text(result)
    loaded = TextToImage.from_pretrained(folder)
    assert (loaded.options.steps, loaded.options.shift, loaded.options.guidance) == (3, 2, 0)
    assert winnow("sample", folder, "x", "-o", tmp_path / "x.png").exit_code == Exit.DONE
    same = winnow("distil", trained, corpus, "-o", trained)
    assert same.exit_code == Exit.USAGE
    assert "needs a folder of its own" in text(same)


def test_an_official_folder_is_sampled_and_distilled(corpus: Path, tmp_path: Path) -> None:
    official = tmp_path / "official"
    make_official(official)
    before = {path: path.read_bytes() for path in official.rglob("*") if path.is_file()}
    drawn = winnow("sample", official, "x", "-o", tmp_path / "a.png", "--size", "32x48")
    assert drawn.exit_code == Exit.DONE, drawn.output
    assert "(8 steps, no guidance)" in text(drawn)
    assert Image.open(tmp_path / "a.png").size == (48, 32)
    folder = tmp_path / "fast"
    arguments = ("distil", official, corpus, "-o", folder, "--steps", 1, "--batch", 1)
    # Published pictures are of a megapixel; here 32 pixels do.
    small = winnow(*arguments, "--size", 32, "--shift", 2.5, "--device", "cpu")
    assert small.exit_code == Exit.DONE, small.output
    assert {path: path.read_bytes() for path in before} == before
    loaded = TextToImage.from_pretrained(folder)
    assert (loaded.options.steps, loaded.options.shift) == (8, 2.5)
    theirs = S3DiT.from_pretrained(official / "transformer")
    assert loaded.model.config == theirs.config


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("sample", "nowhere", "x", "-o", "x.png"), Exit.USAGE, "nowhere is no folder"),
        (("sample", "MODEL", "x", "-o", "x.jpg"), Exit.USAGE, "must be a .png file"),
        (("sample", "CORPUS", "x", "-o", "x.png"), Exit.USAGE, "model_index.json is missing"),
        (
            ("sample", "MODEL", "x", "-o", "x.png", "--size", "big"),
            Exit.USAGE,
            "512x768 (height x width), got 'big'",
        ),
        (
            ("sample", "MODEL", "x", "-o", "x.png", "--size", "33"),
            Exit.USAGE,
            "height and width must be multiples of",
        ),
        (
            ("sample", "MODEL", "x", "-o", "x.png", "--preset", "fast"),
            Exit.USAGE,
            "turbo, base, base-28, got 'fast'",
        ),
        (
            ("sample", "MODEL", "x", "-o", "x.png", "--guidance", "0", "--negative", "y"),
            Exit.USAGE,
            "a negative prompt needs --guidance above 0",
        ),
        (
            ("sample", "MODEL", "x", "-o", "x.png", "--device", "cuda:9"),
            Exit.USAGE,
            "device 'cuda:9' cannot be used",
        ),
        (("train", "nowhere", "-o", "new"), Exit.USAGE, "nowhere holds no shards"),
        (("train", "CORPUS", "-o", "CORPUS"), Exit.USAGE, "is not empty and holds no run"),
        (
            ("train", "CORPUS", "-o", "new", "--level", "huge"),
            Exit.USAGE,
            "level must be of",
        ),
        (
            ("train", "CORPUS", "-o", "new", "--weights", "none.parquet"),
            Exit.USAGE,
            "none.parquet does not exist",
        ),
        (
            ("train", "CORPUS", "-o", "new", "--precision", "fp8"),
            Exit.USAGE,
            "fp32 or bf16, got 'fp8'",
        ),
        (
            ("distil", "MODEL", "CORPUS", "-o", "new", "--schedule", "mixed"),
            Exit.USAGE,
            "hybrid, constrained, full, shared, got 'mixed'",
        ),
    ],
)
def test_mistakes_are_told(
    corpus: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": trained, "CORPUS": corpus}
    result = winnow(*(places.get(each, each) for each in arguments))
    assert result.exit_code == code, result.output
    assert message in text(result)


def test_a_loss_that_is_no_number_fails_the_run(corpus: Path, tmp_path: Path) -> None:
    result = winnow(
        *("train", corpus, "-o", tmp_path / "new", "--steps", 9, "--batch", 4),
        *("--learning-rate", "1e30", "--device", "cpu"),
    )
    assert result.exit_code == Exit.FAILED
    assert "lower the learning rate" in text(result)


def test_sheets_sizes_and_presets() -> None:
    images = [np.full((2, 3, 3), 40 * number, np.uint8) for number in range(5)]
    whole = np.asarray(sheet(images))
    assert whole.shape == (4, 9, 3)
    assert (whole[2:, 3:6] == 160).all()
    assert (whole[2:, 6:] == 255).all()
    assert sheet(images, columns=9).size == (15, 2)
    assert parse_size("512") == (512, 512)
    assert parse_size("512x768") == (512, 768)
    with pytest.raises(ConfigurationError, match="got '1x2x3'"):
        parse_size("1x2x3")
    from generator.sampler import BASE, SamplerOptions

    own = SamplerOptions(sigmas=(0.9, 0.5))
    assert sampling(own, None, None, None, None) == own
    assert sampling(own, None, 4, None, None) == SamplerOptions(steps=4)
    assert sampling(own, "base", None, 2.0, None).guidance == 2.0
    assert sampling(own, "base", None, None, None) == BASE


def test_progress_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("pipeline.generating.runs.time.monotonic", lambda: now)
    said: list[str] = []
    tell = Progress(100, said.append)
    for step in range(21):
        tell(step, 2.0)
        now += 1.0
    assert len(said) == 4
    assert said[-1].startswith("21 of 100 updates, loss 2.0000, 1.00 updates/s, 2 min left")
