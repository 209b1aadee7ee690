"""The embedded captioner: plain, true sentences without a model.

It says what the metadata says, what the text in the image says, and what can be measured:
colours, format, light, and where the text stands. It names no object that it was not told.
"""

from __future__ import annotations

from captioning.backends import chinese, english
from captioning.backends.facts import gather_facts
from captioning.caption import CaptionRequest, Captions, Written


class Composer:
    """Composes captions from metadata, text and colours; deterministic."""

    @property
    def name(self) -> str:
        """What the ``backend`` column says."""
        return "composer"

    def write(self, request: CaptionRequest) -> Written:
        """Write all captions of one image; see ``CaptionBackend``."""
        facts = gather_facts(request)
        captions = Captions(
            en_tags=english.tags(facts),
            en_short=english.short(facts),
            en_medium=english.medium(facts),
            en_long=english.long(facts),
            en_prompt=english.prompt(facts),
            zh_tags=chinese.tags(facts),
            zh_short=chinese.short(facts),
            zh_medium=chinese.medium(facts),
            zh_long=chinese.long(facts),
            zh_prompt=chinese.prompt(facts),
        )
        return Written(captions)
