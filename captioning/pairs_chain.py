"""From two images to an instruction: caption both, name the differences, say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from captioning.caption import LANGUAGES, NO_USAGE, CaptionLanguage, Usage
from captioning.checks import PURITY, invented_text, language_purity
from captioning.ocr.lines import Line
from captioning.pairs import Kind
from captioning.rendered import Poster, changes, instruct
from captioning.wording import is_wordless, refuses, tokens

#: Most words (English) or characters (Chinese) of an instruction, quotations included.
LONGEST: dict[CaptionLanguage, int] = {"en": 120, "zh": 240}
#: Name of the writer of exact instructions, in the ``backend`` column.
RENDERED = "rendered"
NO_DIFFERENCE = "no_difference"
#: What a difference is called that only says that the two are not of one scene.
OTHER_PICTURE = "other_picture"


@dataclass(frozen=True)
class Side:
    """One image of a pair, and what is known of it.

    Args:
        image: uint8[height, width, 3], RGB.
        lines: The text it shows, in reading order.
        captions: Its long caption by language, where it has one already.
        digest: SHA-256 of the file, lower-case hex.
        poster: The truth of a rendered text.
    """

    image: npt.NDArray[np.uint8] = field(repr=False)
    lines: Sequence[Line] = ()
    captions: dict[CaptionLanguage, str] = field(default_factory=dict)
    digest: str = ""
    poster: Poster | None = None

    @property
    def texts(self) -> list[str]:
        """The confident lines, in reading order."""
        return [line.text for line in self.lines if line.quoted]


@dataclass(frozen=True)
class PairRequest:
    """What a writer of instructions is given.

    Args:
        source: The image to be edited.
        target: What it becomes.
        kind: What makes them a pair.
        group: The group both are from.
    """

    source: Side
    target: Side
    kind: Kind
    group: str = ""


@dataclass(frozen=True)
class Difference:
    """One thing in which the target is not as the source.

    Args:
        what: ``text_changed``, ``brighter``, ``mirrored``, ... or ``said`` for a model's words.
        place: Part of the image, such as ``top left``; ``None`` for all of it.
        before: Value in the source, where it has one.
        after: Value in the target.
    """

    what: str
    place: str | None = None
    before: str | None = None
    after: str | None = None

    def to_json(self) -> dict[str, str]:
        """What is set, as JSON-ready values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class PairText:
    """What a writer makes of a pair.

    Args:
        instruction_en: What to do with the source, in English.
        instruction_zh: The same in Chinese.
        differences: What it is drawn from.
        usage: What it cost.
    """

    instruction_en: str
    instruction_zh: str
    differences: tuple[Difference, ...] = ()
    usage: Usage = NO_USAGE

    def get(self, language: CaptionLanguage) -> str:
        """The instruction in one language."""
        return self.instruction_en if language == "en" else self.instruction_zh


class PairWriter(Protocol):
    """Writes instructions; may be called from several threads at once."""

    @property
    def name(self) -> str:
        """What the ``backend`` column says."""
        ...

    def write(self, request: PairRequest) -> PairText:
        """Write the instruction of a pair in both languages.

        Raises:
            CaptionError: If this pair gets none.
            EndpointUnavailableError: If no pair would get any.
        """
        ...


@dataclass(frozen=True)
class PairResult:
    """The instruction of a pair, checked.

    Args:
        text: Instruction and differences.
        backend: Who wrote it.
        checks: Checks that failed, as ``check:language``, in a fixed order.
    """

    text: PairText
    backend: str
    checks: tuple[str, ...]

    def to_row(self) -> dict[str, Any]:
        """Plain values; the differences as a list."""
        return {
            "instruction_en": self.text.instruction_en,
            "instruction_zh": self.text.instruction_zh,
            "differences": [each.to_json() for each in self.text.differences],
            "backend": self.backend,
            "checks": list(self.checks),
        }


def write_instruction(writer: PairWriter, request: PairRequest) -> PairResult:
    """Write the instruction of a pair and check it.

    Where both images are rendered texts with their truth, the instruction is the exact one
    and the writer is not asked.

    Raises:
        CaptionError: If the writer gives this pair none.
        EndpointUnavailableError: If the writer gives none at all.
    """
    exact = exact_instruction(request.source.poster, request.target.poster)
    if exact is not None:
        return PairResult(exact, RENDERED, ())
    if np.array_equal(request.source.image, request.target.image):
        same = PairText("Keep the image as it is.", "保持画面不变。")
        return PairResult(same, writer.name, (NO_DIFFERENCE,))
    text = writer.write(request)
    return PairResult(text, writer.name, tuple(check_instruction(text, request)))


def exact_instruction(source: Poster | None, target: Poster | None) -> PairText | None:
    """The instruction between two rendered texts; ``None`` where none leads from one to other."""
    if source is None or target is None:
        return None
    try:
        english, chinese = (instruct(source, target, language) for language in LANGUAGES)
        differences = tuple(
            Difference(
                what=f"text_{attribute}",
                place=source.texts[number].position,
                before=str(getattr(source.texts[number], attribute)),
                after=str(getattr(target.texts[number], attribute)),
            )
            for number, attribute in changes(source, target)
        )
    except ValueError:
        return None
    return PairText(english, chinese, differences)


def check_instruction(text: PairText, request: PairRequest) -> list[str]:
    """What is wrong with an instruction.

    ``empty``, ``language``, ``too_long``, ``invented_text`` (it quotes what neither image
    shows) and ``refusing``, each with the language; ``no_difference`` where nothing was found
    that differs, and ``vague`` where the two are not of one scene and no more than their look
    could be told apart.
    """
    known = [line.text for side in (request.source, request.target) for line in side.lines]
    flags = [] if text.differences else [NO_DIFFERENCE]
    flags += ["vague"] if any(d.what == OTHER_PICTURE for d in text.differences) else []
    for language in LANGUAGES:
        said = text.get(language)
        if is_wordless(said):
            flags.append(f"empty:{language}")
            continue
        if language_purity(said, language, known) < PURITY[language]:
            flags.append(f"language:{language}")
        if len(tokens(said, language)) > LONGEST[language]:
            flags.append(f"too_long:{language}")
        if invented_text(said, known):
            flags.append(f"invented_text:{language}")
        if refuses(said):
            flags.append(f"refusing:{language}")
    return flags
