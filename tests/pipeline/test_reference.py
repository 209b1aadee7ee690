"""The written reference of settings says what the code does."""

from __future__ import annotations

from pipeline.reference import reference
from tests.conftest import ROOT


def test_the_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert written == reference(), "run: python -m pipeline.reference > docs/settings.md"


def test_every_setting_says_what_it_does() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert not [row[0] for row in rows if not row[-1].strip(" |")]
