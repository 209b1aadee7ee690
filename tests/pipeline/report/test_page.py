"""The page in a real browser: silent, offline, inert, and sound at both widths."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.report.page import SECTIONS, render
from pipeline.report.tables import Tables
from pipeline.report.thumbnails import make_thumbnails, shown
from tests.pipeline.report.small_corpus import ALL, HOSTILE, SmallCorpus

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_hostile_text_is_escaped(page: Path) -> None:
    html = page.read_text("utf-8")
    assert "<img src=x" not in html
    assert "<svg onload" not in html
    assert "{{ 7*7 }}" in html
    assert html.count("<script>") == html.count("</script>") == 1
    assert re.search(r"\sstyle=", html) is None, "the policy forbids style attributes"


def test_the_page_names_no_address(page: Path) -> None:
    html = page.read_text("utf-8")
    assert re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[^\"]+", "", html)) == []
    assert re.findall(r'(?:src|href)="(?!data:|#)', html) == []


def test_thumbnails_stay_within_their_limit(small: SmallCorpus, page: Path) -> None:
    import json

    audit: dict[str, Any] = json.loads(page.with_name("audit.json").read_text("utf-8"))
    with Tables(small.corpus, ALL) as tables:
        found = make_thumbnails(tables, small.corpus.storage, audit, 96, limit=9_000)
    assert set(found) == set(shown(audit))
    assert 0 < sum(len(each.uri) for each in found.values()) <= 9_000
    assert any("keep the page small" in each.note for each in found.values())
    assert len(render(audit, found, 96)) < page.stat().st_size


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(
    scope="module", params=[(1280, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone"]
)
def opened(browser: Any, request: pytest.FixtureRequest, page: Path) -> Any:
    """The page, and what it said and asked for while it was opened and scrolled through."""
    width, height, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda sent: asked.append(sent.url))
    tab.goto(page.as_uri())
    for anchor, _ in SECTIONS:
        tab.locator(f"#{anchor}").scroll_into_view_if_needed()
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    until(tab, "[...document.images].every(each => each.complete)")
    yield tab, said, asked
    context.close()


def until(tab: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids the browser driver's own way."""
    for _ in range(100):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    pytest.fail(f"still not so after 5 s: {condition}")


def test_no_error_and_no_request_leaves(opened: Any, page: Path) -> None:
    _, said, asked = opened
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]


def test_hostile_text_is_inert_and_shown(opened: Any) -> None:
    tab, _, _ = opened
    assert tab.evaluate("window.broken") is None
    assert HOSTILE in tab.locator("#captions").inner_text()
    assert HOSTILE in tab.locator("#quarantine").inner_text()
    assert tab.evaluate("document.querySelectorAll('[onerror], [onload]').length") == 0


def test_the_policy_stops_what_gets_in(browser: Any, page: Path) -> None:
    """Even markup that got past the escaping could neither run nor call home."""
    tab = browser.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(page.as_uri())
    tab.evaluate(
        "document.body.insertAdjacentHTML('beforeend', "
        '\'<img src=x onerror="window.broken=1"><img src="http://127.0.0.1:9/y.png">\')'
    )
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.broken") is None
    assert sum("Content Security Policy" in each for each in said) >= 2
    tab.close()


def test_it_fits_its_width_and_shows_every_picture(opened: Any) -> None:
    tab, _, _ = opened
    wide = tab.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide == 0
    assert tab.evaluate("document.images.length") > 10
    assert tab.evaluate("[...document.images].every(each => each.naturalWidth > 0)")
    assert tab.evaluate("[...document.images].every(each => each.alt)")


def test_sections_and_contents(opened: Any) -> None:
    tab, _, _ = opened
    for anchor, title in SECTIONS:
        box = tab.locator(f"#{anchor}").bounding_box()
        assert box is not None
        assert box["height"] > 40
        assert tab.locator(f"#{anchor} h2").inner_text() == title
    tab.locator("nav a[href='#quarantine']").click()
    current = "document.querySelector('nav a[aria-current]').hash"
    until(tab, f"{current} === '#quarantine'")
    assert tab.locator("#captions polygon").count() == 2
    assert tab.locator("#duplicates .is-kept").count() >= 3
    headers = "[...document.querySelectorAll('thead')].every(each => each.querySelector('th'))"
    assert tab.evaluate(headers)
