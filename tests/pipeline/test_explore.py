"""``winnow dedup``: its commands from outside, and the page of pairs in a real browser."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.config import Config
from pipeline.console import Exit
from pipeline.explore import explore_corpus, label_corpus
from pipeline.explore.stored import find_settings, policy_order, read_grid, read_pairs
from pipeline.query import read_table
from stages.batches import plan_uri
from stages.contract import ConfigurationError, StageError
from stages.corpus import Corpus
from stages.storage import Storage, StorageSettings
from tests.conftest import S3Server
from tests.pipeline.report.small_corpus import HOSTILE, SmallCorpus, item_id

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
GRID = "0.85:0.95:0.05"


def winnow(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})


def said(result: Result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallCorpus:
    """Pairs at 1.0 (equal), 0.97, 0.91, 0.89 and 0.8, a hostile name among them; one run."""
    corpus = SmallCorpus(tmp_path_factory.mktemp("explore"))
    config = corpus.config.to_yaml().encode()
    corpus.corpus.storage.write(
        corpus.corpus.place("runs", "20260101T000000", "config.yaml"), config
    )
    return corpus


@pytest.fixture(scope="module")
def page(small: SmallCorpus) -> Path:
    return Path(explore_corpus(small.corpus, GRID).page)


def write_labels(path: Path, *rows: tuple[object, object, str]) -> Path:
    path.write_text("src,dst,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    return path


def test_vectors_are_the_default_command(tmp_path: Path) -> None:
    random = np.random.default_rng(0).normal(size=(9, 16)).astype(np.float32)
    np.save(tmp_path / "v.npy", random[[0, 1, 2, 0]])
    out = tmp_path / "out.parquet"
    options = ("--threshold", 0.9, "-o", out)
    written = []
    for arguments in (
        (tmp_path / "v.npy", *options),
        (*options, tmp_path / "v.npy"),
        ("vectors", tmp_path / "v.npy", *options),
    ):
        out.unlink(missing_ok=True)
        result = winnow("dedup", *arguments)
        assert result.exit_code == Exit.DONE, result.output
        assert "4 vectors = 3 kept + 1 removed" in result.output
        written.append(pq.read_table(out))
    assert written[0] == written[1] == written[2]


def test_a_slip_is_no_file_of_vectors() -> None:
    result = winnow("dedup", "exlpore", "out")
    assert result.exit_code == Exit.USAGE
    assert "Did you mean 'explore'?" in said(result)
    assert "label.npy is not a file" in said(
        winnow("dedup", "label.npy", "--threshold", 0.9, "-o", "out.parquet")
    )


@pytest.mark.parametrize("command", ["vectors", "explore", "label"])
def test_every_command_shows_an_example(command: str) -> None:
    result = winnow("dedup", command, "--help")
    assert result.exit_code == Exit.DONE
    assert "winnow dedup" in result.output.split("Example", 1)[1]
    assert command in winnow("dedup").output


def test_explore_says_what_the_run_did_at_its_own_threshold(small_run: Config) -> None:
    result = winnow("dedup", "explore", small_run.corpus, "--pairs", 2)
    assert result.exit_code == Exit.DONE, result.output
    decided = read_table(Corpus(small_run.corpus, Storage()), "dedup")
    removed = decided.filter(np.logical_not(decided["keep"].to_numpy())).num_rows
    assert removed > 0
    in_force = next(line for line in result.output.splitlines() if "in force" in line)
    assert in_force.split()[:2] == [str(small_run.dedup.threshold), str(removed)]
    assert f"{decided.num_rows} compared" in result.output
    assert "not up to date with these settings" not in result.output
    page = Path(small_run.corpus) / "report" / "thresholds.html"
    assert str(page) in result.output
    assert page.read_text("utf-8").startswith("<!doctype html>")
    page.unlink()


def test_explore_uses_the_policy_of_the_run_that_made_the_tables(own_run: Config) -> None:
    corpus = Corpus(own_run.corpus, Storage())
    first = find_settings(corpus)
    assert first.made_it
    # A later run that failed before dedup, or wanted another policy, did not make them.
    other = own_run.model_copy(
        update={"dedup": own_run.dedup.model_copy(update={"keep": "item_id desc"})}
    )
    later = corpus.place("runs", "99990101T000000", "config.yaml")
    corpus.storage.write(later, other.to_yaml().encode())
    assert find_settings(corpus) == first
    broken = corpus.place("runs", "99990102T000000", "config.yaml")
    corpus.storage.write(broken, b"no: {such: configuration")
    assert find_settings(corpus) == first
    given = Path(own_run.corpus) / "other.yaml"
    given.write_text(other.to_yaml())
    assert find_settings(corpus, given).config.dedup.keep == "item_id desc"


def test_the_policy_decides_who_goes(small: SmallCorpus, tmp_path: Path) -> None:
    """Of the star 0 with 2 at 0.97 and 3 at 0.91, the best decides whether one or two stay."""
    removed = {}
    for policy in ("item_id", "item_id desc", "Key like '%picture-02%' desc"):
        config = tmp_path / "run.yaml"
        dedup = small.config.dedup.model_copy(update={"keep": policy})
        config.write_text(small.config.model_copy(update={"dedup": dedup}).to_yaml())
        found = explore_corpus(small.corpus, "0.9:0.9:1", str(tmp_path / "p.html"), config)
        removed[policy] = found.exploration.summary["removed"].to_pylist()
    assert removed == {
        "item_id": [3],  # 0 keeps itself; its copy 1, and 2 and 3, go
        "item_id desc": [2],  # 3 and 2 stay, 0 and its copy go
        "Key like '%picture-02%' desc": [2],  # 2 is best, 0 and 1 go, 3 stays
    }


def in_two_batches(small: SmallCorpus) -> None:
    """The second partition, pictures 8 to 11, came with a later batch."""
    plan = pq.read_table(plan_uri(small.corpus.uri, 0))
    for batch in (0, 1):
        place = Path(plan_uri(small.corpus.uri, batch))
        place.parent.mkdir(exist_ok=True)
        pq.write_table(plan.slice(batch, 1), place)


@pytest.mark.parametrize(
    ("dedup", "first", "protected"),
    [
        ({"keep": "item_id desc"}, 5, []),
        ({"keep": "item_id desc", "keep_earlier": False}, 11, []),
        ({"keep": "", "protect": "batch = 1"}, 0, [9, 10, 11]),
        ({"keep": "entropy desc", "protect": "Key like '%-02.jpg'"}, 5, [2]),
    ],
)
def test_earlier_batches_and_protection_count_as_in_a_run(
    tmp_path: Path, dedup: dict[str, Any], first: int, protected: list[int]
) -> None:
    small = SmallCorpus(tmp_path)
    in_two_batches(small)
    _, ids = read_pairs(small.corpus)
    settings = small.config.dedup.model_copy(update=dedup)
    rank, protect = policy_order(small.corpus, ids, settings)
    assert ids[rank.argmin()] == item_id(first)
    assert ids[protect].tolist() == [item_id(each) for each in protected]


def test_protection_changes_the_figures_and_is_shown(small: SmallCorpus, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    protect = {"dedup": small.config.dedup.model_copy(update={"protect": "width in (160, 184)"})}
    config.write_text(small.config.model_copy(update=protect).to_yaml())
    grid = ("--grid", "0.9:0.9:1", "-o", tmp_path / "p.html")
    plain = winnow("dedup", "explore", small.corpus.uri, *grid)
    given = winnow("dedup", "explore", small.corpus.uri, *grid, "--config", config)
    # The largest, 3, stays; 0 with its copy 1 goes. Protected 0, 1 and 3 stay, and 2 goes.
    assert plain.output.splitlines()[1].split()[:2] == ["0.90", "2"]
    assert given.output.splitlines()[1].split()[:2] == ["0.90", "1"]
    assert "protect width in (160, 184)" in given.output
    assert "width in (160, 184)" in (tmp_path / "p.html").read_text("utf-8")
    wrong = {"dedup": small.config.dedup.model_copy(update={"protect": "colour = 1"})}
    config.write_text(small.config.model_copy(update=wrong).to_yaml())
    result = winnow("dedup", "explore", small.corpus.uri, *grid, "--config", config)
    assert result.exit_code == Exit.USAGE
    assert "protect" in said(result)
    assert "colour" in said(result)


def test_explore_without_a_stored_configuration_wants_one(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    result = winnow("dedup", "explore", small.corpus.uri)
    assert result.exit_code == Exit.USAGE
    assert "name one with --config" in said(result)
    config = tmp_path / "run.yaml"
    config.write_text(small.config.to_yaml())
    given = winnow("dedup", "explore", small.corpus.uri, "--config", config)
    assert given.exit_code == Exit.DONE, given.output
    assert str(config) in given.output
    assert "not up to date with these settings" in given.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--grid", "0.8"), "--grid wants LOW:HIGH:STEP such as 0.7:0.99:0.01, got '0.8'"),
        (("--grid", "0.9:0.8:0.1"), "the highest threshold 0.8 lies below the lowest 0.9"),
        (("--grid", "0.5:0.9:0.1"), "threshold 0.5 lies below the floor 0.8 of the stored pairs"),
        (("-o", "page.txt"), "page.txt must end in .html"),
        (("--config", "nowhere.yaml"), "cannot read the configuration nowhere.yaml"),
    ],
)
def test_explore_tells_mistakes(
    small: SmallCorpus, arguments: tuple[str, ...], message: str
) -> None:
    result = winnow("dedup", "explore", small.corpus.uri, *arguments)
    assert result.exit_code == Exit.USAGE
    assert message in said(result)


def test_explore_of_what_is_no_corpus_or_not_that_far(own_run: Config, tmp_path: Path) -> None:
    assert "does not exist" in said(winnow("dedup", "explore", tmp_path / "nowhere"))
    shutil.rmtree(Path(own_run.corpus) / "dedup")
    result = winnow("dedup", "explore", own_run.corpus)
    assert result.exit_code == Exit.USAGE
    assert "table 'dedup'" in said(result)
    assert "has not been written: run the stage that writes it" in said(result)


def test_tables_that_contradict_each_other_fail(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    small.commit("edges", [{"src": item_id(0), "dst": item_id(6), "similarity": 0.9}])
    config = tmp_path / "run.yaml"
    config.write_text(small.config.to_yaml())
    result = winnow("dedup", "explore", small.corpus.uri, "--config", config)
    assert result.exit_code == Exit.FAILED
    assert f"items that were not compared: {item_id(6)}" in said(result)
    with pytest.raises(StageError, match="contradict each other"):
        label_corpus(small.corpus, [write_labels(tmp_path / "l.csv", (0, 1, "yes"))])


def test_no_pairs_at_all_are_shown_as_such(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    small.commit("edges", [])
    config = tmp_path / "run.yaml"
    config.write_text(small.config.to_yaml())
    found = explore_corpus(small.corpus, config=config)
    assert set(found.exploration.summary["removed"].to_pylist()) == {0}
    html = Path(found.page).read_text("utf-8")
    assert "No stored pair lies next to one of these thresholds" in html
    assert 'id="save"' not in html


def test_the_default_grid_begins_at_the_floor() -> None:
    assert read_grid(None, 0.625)[[0, -1]].tolist() == [0.7, 0.99]
    assert read_grid(None, 0.8)[0] == 0.8
    assert read_grid(None, 0.801)[0] == 0.81
    assert read_grid(None, 0.999).tolist() == [1.0]
    with pytest.raises(ConfigurationError, match="at most 1000 thresholds"):
        read_grid("0:1:1e-9", 0.0)


def test_explore_reads_and_writes_object_stores(s3: S3Server, small: SmallCorpus) -> None:
    s3.upload(small.folder / "corpus", "explored/corpus")
    storage = Storage(StorageSettings(endpoint=s3.endpoint))
    found = explore_corpus(Corpus("s3://explored/corpus", storage), GRID)
    assert found.page == "s3://explored/corpus/report/thresholds.html"
    assert found.settings.origin == "runs/20260101T000000/config.yaml"
    assert b"data:image/webp" in storage.read(found.page)


# --- labels -------------------------------------------------------------------------------


def test_labels_of_every_pair_give_the_exact_answer(small: SmallCorpus, tmp_path: Path) -> None:
    """0.97, 0.91 and 0.89 are all the pairs there are: nothing is left to doubt."""
    zero = item_id(0)
    labels = write_labels(
        tmp_path / "pairs.csv",
        (zero, item_id(2), "yes"),
        (item_id(3), zero, "Yes"),
        (item_id(4), item_id(5), "no"),
        (zero, item_id(1), "yes"),
        (item_id(9), item_id(10), "unsure"),
    )
    result = winnow("dedup", "label", small.corpus.uri, labels, "--grid", GRID)
    assert result.exit_code == Exit.DONE, result.output
    assert "threshold 0.9: precision 100 %, 95 % interval 100 % to 100 %, from 2 labels" in (
        said(result)
    )
    assert "it keeps 100 % of the yes pairs" in said(result)
    assert "--set dedup.threshold=0.9" in said(result)
    assert "1 unsure, left out; 1 pairs of equal images, left out" in said(result)
    loose = winnow("dedup", "label", small.corpus.uri, labels, "--grid", GRID, "--precision", 0.6)
    assert "threshold 0.875: precision 66.7 %" in said(loose)


def test_labels_may_come_in_several_files(small: SmallCorpus, tmp_path: Path) -> None:
    one = write_labels(tmp_path / "one.csv", (item_id(0), item_id(2), "yes"))
    two = tmp_path / "two.csv"
    # As a spreadsheet writes it: a mark at the start, other columns, other order, CRLF.
    two.write_bytes(f"\ufefflabel,note,dst,src\r\nYES,x,{item_id(3)},{item_id(0)}\r\n".encode())
    assert len(label_corpus(small.corpus, [one, two], GRID).judged.yes) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column src and dst and label"),
        ("src,dst\n1,2\n", "lacks the column label"),
        ("src,dst,label\n", "there are no labels: at least one yes or no is needed"),
        ("src,dst,label\n0,2,unsure\n", "there are no labels"),
        ("src,dst,label\n0,2,yes\n0,2,maybe\n", "line 3: label must be yes, no or unsure"),
        ("src,dst,label\n0,two,yes\n", "line 2: src and dst must be item ids, got '0' and 'two'"),
        ("src,dst,label\n0\n", "line 2: label must be yes, no or unsure, got ''"),
        ("src,dst,label\n0,7,yes\n", "1 of 1 labelled pairs are not among the stored ones"),
        ("src,dst,label\n0,99999999999999999999,yes\n", "line 2: src and dst must be item ids"),
        ("src,dst,label\n0,2,yes\n2,0,no\n", "1 pairs are labelled both yes and no, such as 0"),
        ("src,dst,label\n1048577,1048578,yes\n", "all 1 labels lie below"),
        (b"src,dst,label\n\xff,2,yes\n", "cannot read the labels"),
        (None, "cannot read the labels"),
    ],
)
def test_label_tells_mistakes(
    small: SmallCorpus, tmp_path: Path, text: str | bytes | None, message: str
) -> None:
    file = tmp_path / "pairs.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = winnow("dedup", "label", small.corpus.uri, file, "--grid", "0.9:0.95:0.05")
    assert result.exit_code == Exit.USAGE, result.output
    assert message in said(result)
    assert "pairs.csv" in said(result)


def test_too_few_labels_fail_and_say_how_many_are_missing(
    small: SmallCorpus, tmp_path: Path
) -> None:
    labels = write_labels(tmp_path / "pairs.csv", (item_id(0), item_id(2), "yes"))
    result = winnow("dedup", "label", small.corpus.uri, labels, "--grid", "0.85:0.9:0.05")
    assert result.exit_code == Exit.FAILED
    assert "Label about 1 more pairs at or above it" in said(result)
    assert "--seed 1" in said(result)
    wrong = winnow("dedup", "label", small.corpus.uri, labels, "--precision", 98)
    assert wrong.exit_code == Exit.USAGE
    assert "--precision must lie between 0 and 1, got 98" in said(wrong)


# --- the page -----------------------------------------------------------------------------


def test_hostile_text_is_escaped_and_no_address_is_named(page: Path) -> None:
    html = page.read_text("utf-8")
    assert "<img src=x" not in html
    assert "<svg onload" not in html
    assert "{{ 7*7 }}" in html
    assert html.count("<script>") == html.count("</script>") == 1
    assert re.search(r"\sstyle=", html) is None, "the policy forbids style attributes"
    assert re.findall(r"(?:https?:)?//[a-z]", re.sub(r"base64,[^\"]+", "", html)) == []
    assert re.findall(r'(?<!data-)(?:src|href)="(?!data:|#)', html) == []


def test_images_that_are_gone_leave_placeholders(tmp_path: Path) -> None:
    small = SmallCorpus(tmp_path)
    (tmp_path / "in" / "picture-00.jpg").unlink()
    config = tmp_path / "run.yaml"
    config.write_text(small.config.to_yaml())
    html = Path(explore_corpus(small.corpus, GRID, config=config).page).read_text("utf-8")
    assert "cannot be read now" in html
    assert "data:image/webp" in html


def test_the_same_corpus_gives_the_same_page(small: SmallCorpus, tmp_path: Path) -> None:
    one, two, other = (str(tmp_path / f"{n}.html") for n in range(3))
    explore_corpus(small.corpus, GRID, one)
    explore_corpus(small.corpus, GRID, two)
    explore_corpus(small.corpus, GRID, other, examples=0)
    assert Path(one).read_bytes() == Path(two).read_bytes()
    assert "data:image" not in Path(other).read_text("utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(params=[(1280, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone"])
def opened(browser: Any, request: pytest.FixtureRequest, page: Path) -> Any:
    """The page, and what it said and asked for."""
    width, height, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    tab = context.new_page()
    heard: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: heard.append(message.text))
    tab.on("pageerror", lambda error: heard.append(str(error)))
    tab.on("request", lambda sent: asked.append(sent.url))
    tab.goto(page.as_uri())
    yield tab, heard, asked
    context.close()


def test_the_page_is_silent_offline_inert_and_fits(opened: Any, page: Path) -> None:
    tab, heard, asked = opened
    for section in tab.locator("main > section").all():
        section.scroll_into_view_if_needed()
    assert heard == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert tab.evaluate("window.broken") is None
    assert tab.evaluate("document.querySelectorAll('[onerror], [onload]').length") == 0
    names = tab.locator(".pair .name").all_inner_texts()
    assert '<∕script><img src=x onerro…broken=1">\'"><svg onload=window.broken=1>' in "".join(names)
    titles = tab.locator(".pair .name").evaluate_all("names => names.map(each => each.title)")
    assert any(HOSTILE.replace("/", "∕") in title for title in titles)
    root = "document.documentElement"
    assert tab.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    assert tab.evaluate("[...document.images].every(each => each.naturalWidth > 0 && each.alt)")
    assert tab.evaluate("document.images.length") == 2 * tab.locator(".pair").count() == 6


def test_labels_are_clicked_kept_and_saved(opened: Any, small: SmallCorpus, tmp_path: Path) -> None:
    tab, heard, _ = opened
    assert tab.locator("#save").is_disabled()
    pair = tab.locator(f".pair[data-dst='{item_id(2)}']")
    assert pair.locator("legend").inner_text() == "Similarity 0.9700"
    pair.get_by_text("yes", exact=True).click()
    pair.get_by_text("no", exact=True).click()
    assert tab.locator("#count").inner_text() == "1 of 3 pairs labelled"
    # By key: the label is set and the next pair is in focus.
    tab.locator(".pair input").first.focus()
    tab.keyboard.press("y")
    tab.keyboard.press("u")
    tab.reload()
    assert tab.locator("#count").inner_text() == "3 of 3 pairs labelled"

    with tab.expect_download() as download:
        tab.locator("#save").click()

    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "pairs.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    assert rows[0] == ["src", "dst", "label"]
    assert [row[2] for row in rows[1:]] == ["yes", "unsure", "no"]
    assert {(int(a), int(b)) for a, b, _ in rows[1:]} == {
        (item_id(4), item_id(5)),
        (item_id(0), item_id(3)),
        (item_id(0), item_id(2)),
    }
    assert heard == []
    judged = label_corpus(small.corpus, [file], GRID).judged
    assert sorted(judged.yes.tolist()) == [False, True]
    assert judged.unsure == 1


def test_the_policy_stops_what_gets_in(browser: Any, page: Path) -> None:
    """Even markup that got past the escaping could neither run nor call home."""
    tab = browser.new_page()
    heard: list[str] = []
    tab.on("console", lambda message: heard.append(message.text))
    tab.goto(page.as_uri())
    tab.evaluate(
        "document.body.insertAdjacentHTML('beforeend', "
        '\'<img src=x onerror="window.broken=1"><img src="http://127.0.0.1:9/y.png">\')'
    )
    tab.wait_for_timeout(200)
    assert tab.evaluate("window.broken") is None
    assert sum("Content Security Policy" in each for each in heard) >= 2
    tab.close()
