"""``winnow generator``: train, distil and sample text-to-image generators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipeline.console import err, failures, out

generator = typer.Typer(
    name="generator",
    no_args_is_help=True,
    help="""Text-to-image generators: train one on shards, distil it, draw with it.

    Examples: `winnow generator train out -o model`,
    `winnow generator sample model "a red circle" -o circle.png`,
    `winnow generator distil model out -o fast`
    """,
)

ShardsPath = Annotated[
    Path, typer.Argument(help="A corpus, the folder of its shards, or their index.json.")
]
Output = Annotated[
    Path,
    typer.Option("-o", "--output", help="Folder; the same command again goes on from it."),
]
Levels = Annotated[
    list[str] | None,
    typer.Option(
        "--level", help="tags, short, medium, long or prompt; may be repeated. All of them."
    ),
]
Languages = Annotated[
    list[str] | None, typer.Option("--language", help="en or zh; may be repeated. Both.")
]
Weights = Annotated[
    Path | None, typer.Option(help="Parquet with item_id and weight: how often an item comes.")
]
Seed = Annotated[int, typer.Option(help="Of all that is random.", min=0)]
SaveEvery = Annotated[
    int, typer.Option(help="Updates between checkpoints; 0: only at the end.", min=0)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Threads = Annotated[
    int,
    typer.Option(
        help="CPU threads among which the images of an update are shared; the number shows in "
        "the last digits of a loss.",
        min=1,
    ),
]
Precision = Annotated[str, typer.Option(help="fp32 or bf16: what the work is done in.")]


@generator.command()
def train(
    shards: ShardsPath,
    output: Output,
    steps: Annotated[
        int | None, typer.Option(help="Updates; by default the recipe's.", min=1)
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Images in an update.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest.")] = None,
    level: Levels = None,
    language: Languages = None,
    weights: Weights = None,
    seed: Seed = 0,
    save_every: SaveEvery = 200,
    device: Device = "auto",
    threads: Threads = 2,
    precision: Precision = "fp32",
) -> None:
    """Train the embedded generator from nothing: a small S3-DiT that needs no downloads.

    Example: `winnow generator train world-out/corpus -o model --level short`
    """
    from pipeline.generating import Captions, How, train_embedded

    with failures():
        how = How(steps, batch, learning_rate, seed, save_every, device, threads, precision)
        chosen = Captions(level or (), language or (), weights)
        made = train_embedded(shards, output, chosen, how, _say)
        out.print(escape(made.text), highlight=False, soft_wrap=True)


@generator.command()
def distil(
    teacher: Annotated[
        Path, typer.Argument(help="Folder that train wrote, or a Z-Image directory.")
    ],
    shards: ShardsPath,
    output: Output,
    steps: Annotated[int, typer.Option(help="Updates of the student.", min=1)] = 100,
    student_steps: Annotated[
        int, typer.Option(help="Steps that the student is to draw in.", min=1, max=1000)
    ] = 8,
    shift: Annotated[float, typer.Option(help="Of the student's noise levels.")] = 3.0,
    guidance: Annotated[
        float | None,
        typer.Option(
            help="What is baked in; by default the teacher's own, or 1 where it has none.", min=0
        ),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(help="Re-noising times: hybrid, or constrained, full, shared to compare."),
    ] = "hybrid",
    fake_updates: Annotated[
        int, typer.Option(help="Updates of the fake model for one of the student.", min=1)
    ] = 2,
    size: Annotated[
        str | None,
        typer.Option(help="Pixels to learn at, such as 512: an area; by default the teacher's."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images in an update.", min=1)] = 16,
    learning_rate: Annotated[float, typer.Option(help="The highest.")] = 3e-5,
    level: Levels = None,
    language: Languages = None,
    weights: Weights = None,
    seed: Seed = 0,
    save_every: SaveEvery = 100,
    device: Device = "auto",
    threads: Threads = 2,
    precision: Precision = "fp32",
) -> None:
    """Make a student that draws in a few steps, without guidance (decoupled DMD).

    The shards give captions and sizes; their images are not learnt from.

    Example: `winnow generator distil model world-out/corpus -o fast --level short`
    """
    from pipeline.generating import Captions, How, Student, distil_generator

    with failures():
        how = How(steps, batch, learning_rate, seed, save_every, device, threads, precision)
        wanted = Student(student_steps, shift, guidance, schedule, fake_updates, size)
        chosen = Captions(level or (), language or (), weights)
        made = distil_generator(teacher, shards, output, chosen, how, wanted, _say)
        out.print(escape(made.text), highlight=False, soft_wrap=True)


@generator.command()
def sample(
    folder: Annotated[
        Path, typer.Argument(help="Folder that train or distil wrote, or a Z-Image directory.")
    ],
    prompts: Annotated[list[str], typer.Argument(help="One picture for each.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="PNG file; several pictures make a sheet.")
    ],
    steps: Annotated[int | None, typer.Option(help="By default the folder's own.", min=1)] = None,
    guidance: Annotated[
        float | None, typer.Option(help="0: none; by default the folder's own.", min=0)
    ] = None,
    shift: Annotated[
        float | None, typer.Option(help="Of the noise levels; by default the folder's own.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="turbo (8 steps, unguided), base (50) or base-28; by default the folder's own."
        ),
    ] = None,
    negative: Annotated[
        str | None, typer.Option(help="What guidance leads away from; by default nothing.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first picture; the next has one more.")] = 0,
    size: Annotated[
        str | None,
        typer.Option(help="Pixels: 512, or 512x768 (height x width); by default the folder's."),
    ] = None,
    columns: Annotated[int | None, typer.Option(help="Of the sheet.", min=1)] = None,
    device: Device = "auto",
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16; by default as the folder is stored.")
    ] = None,
) -> None:
    """Draw pictures; the same seed gives the same picture.

    Example: `winnow generator sample model "a small red circle on the left" -o out.png --seed 3`
    """
    from pipeline.generating import draw_prompts

    with failures():
        told = draw_prompts(
            folder,
            prompts,
            output,
            steps=steps,
            guidance=guidance,
            shift=shift,
            preset=preset,
            negative=negative,
            seed=seed,
            size=size,
            columns=columns,
            device=device,
            precision=precision,
        )
        out.print(escape(told), highlight=False, soft_wrap=True)


def _say(line: str) -> None:
    err.print(escape(line), highlight=False, soft_wrap=True)
