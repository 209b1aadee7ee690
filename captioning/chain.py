"""The caption chain: write, ask again for what is wrong, add what is still missing, check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from captioning.backends import chinese, english
from captioning.caption import (
    LANGUAGES,
    NO_USAGE,
    BatchBackend,
    CaptionBackend,
    CaptionError,
    CaptionRequest,
    Captions,
    Faults,
    RevisingBackend,
    Usage,
    Written,
)
from captioning.checks import Checks, check_all, edit_distance, find_faults, missing_lines
from captioning.checks import ocr_coverage as coverage_of

_ADDED = {"en": (english.missing_text, " "), "zh": (chinese.missing_text, "")}


@dataclass(frozen=True)
class CaptionResult:
    """The captions of one image and what the checks say.

    Args:
        captions: The captions, repaired.
        checks: What the checks found in them.
        revised: The captions that were asked for again, by name.
        appended: The long captions to which missing text was appended, by name.
        first_coverage: Share of confident lines quoted in both long captions as first
            written, 0 to 1; ``None`` without such lines.
        first_distance: Their ``Checks.ocr_edit_distance`` then.
        usage: What it cost.
    """

    captions: Captions
    checks: Checks
    revised: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()
    first_coverage: float | None = None
    first_distance: float | None = None
    usage: Usage = NO_USAGE

    @property
    def ocr_coverage(self) -> float | None:
        """The share of confident lines quoted in both long captions; see ``Checks``."""
        return self.checks.ocr_coverage

    @property
    def flags(self) -> tuple[str, ...]:
        """Repairs made, and checks that failed."""
        again = [f"asked_again:{name}" for name in self.revised]
        repaired = [f"repaired_text:{name}" for name in self.appended]
        return (*again, *repaired, *self.checks.flags)


def caption_image(backend: CaptionBackend, request: CaptionRequest) -> CaptionResult:
    """Write the captions of one image, mend what can be mended, and check them.

    Raises:
        CaptionError: If the backend gives this image no captions.
        EndpointUnavailableError: If the backend gives none at all.
    """
    first = backend.write(request)
    faults = find_faults(first.captions, request)
    revision: Written | CaptionError | None = None
    if faults.names and isinstance(backend, RevisingBackend):
        try:
            revision = backend.revise(request, first.captions, faults)
        except CaptionError as error:
            revision = error
    return _conclude(request, first, faults, revision)


def caption_images(
    backend: BatchBackend, requests: Sequence[CaptionRequest]
) -> list[CaptionResult | CaptionError]:
    """As ``caption_image``, for several images at once; an error where one gets none."""
    written = backend.write_all(requests)
    drafts = {
        index: (request, first.captions, faults)
        for index, (request, first) in enumerate(zip(requests, written, strict=True))
        if not isinstance(first, CaptionError)
        and (faults := find_faults(first.captions, request)).names
    }
    answers = backend.revise_all(list(drafts.values())) if drafts else []
    revisions = dict(zip(drafts, answers, strict=True))
    results: list[CaptionResult | CaptionError] = []
    for index, (request, first) in enumerate(zip(requests, written, strict=True)):
        if isinstance(first, CaptionError):
            results.append(first)
            continue
        faults = drafts[index][2] if index in drafts else Faults()
        results.append(_conclude(request, first, faults, revisions.get(index)))
    return results


def _conclude(
    request: CaptionRequest,
    first: Written,
    faults: Faults,
    revision: Written | CaptionError | None,
) -> CaptionResult:
    captions, usage = first.captions, first.usage
    if isinstance(revision, Written):
        captions = _better(captions, revision.captions, faults, request)
        usage += revision.usage
    elif isinstance(revision, CaptionError):
        usage += revision.usage
    captions, appended = add_missing_text(captions, request)
    return CaptionResult(
        captions=captions,
        checks=check_all(captions, request),
        revised=tuple(faults.names) if revision is not None else (),
        appended=tuple(appended),
        first_coverage=coverage_of(first.captions, request),
        first_distance=edit_distance(first.captions, request),
        usage=usage,
    )


def _better(old: Captions, new: Captions, faults: Faults, request: CaptionRequest) -> Captions:
    """The faulty captions as they were written again, each unless it has become worse."""
    left = find_faults(new, request)
    texts = request.confident_texts
    changed = {}
    for name in faults.names:
        before, after = getattr(old, name), getattr(new, name)
        fewer = len(missing_lines(after, texts)) <= len(missing_lines(before, texts))
        complete = name not in faults.incomplete or fewer
        if complete and (name not in left.foreign or name in faults.foreign):
            changed[name] = after
    return replace(old, **changed)


def add_missing_text(captions: Captions, request: CaptionRequest) -> tuple[Captions, list[str]]:
    """Append to the long captions the confident lines they do not quote.

    Returns:
        The captions, and the names of those that were changed.
    """
    changed: dict[str, str] = {}
    for language in LANGUAGES:
        caption = captions.get(language, "long")
        missing = missing_lines(caption, request.confident_texts)
        if missing:
            sentence, space = _ADDED[language]
            changed[f"{language}_long"] = f"{caption.rstrip()}{space}{sentence(missing)}".strip()
    return replace(captions, **changed), list(changed)
