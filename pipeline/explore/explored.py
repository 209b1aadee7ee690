"""``winnow dedup explore``: figures of every threshold, and a page of pairs to label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dedup.explore import Exploration, explore
from dedup.strata import Strata, cuts_around
from pipeline.explore.page import PageFacts, write_page
from pipeline.explore.stored import Settings, find_settings, policy_order, read_grid, read_pairs
from stages.contract import ConfigurationError
from stages.corpus import Corpus


@dataclass(frozen=True)
class Explored:
    """What the command found.

    Args:
        exploration: Figures and pairs.
        settings: The run whose policy was used.
        page: Where the page was written.
    """

    exploration: Exploration
    settings: Settings
    page: str


def explore_corpus(
    corpus: Corpus,
    grid: str | None = None,
    output: str | None = None,
    config: Path | None = None,
    examples: int = 6,
    seed: int = 0,
) -> Explored:
    """Explore the stored pairs of a corpus and write the page.

    Args:
        corpus: The tables.
        grid: LOW:HIGH:STEP; see ``read_grid``.
        output: The page's uri; ``None`` for ``report/thresholds.html`` below the corpus.
        config: Settings to use instead of those of the run that made the corpus.
        examples: Pairs shown on either side of each threshold.
        seed: Other seeds show other pairs.

    Returns:
        Figures, settings and the place of the page.

    Raises:
        ConfigurationError: If grid, policy or output cannot work, or ``dedup`` has not run.
        StageError: If tables are missing or contradict each other.
    """
    page = output or corpus.place("report", "thresholds.html")
    if not page.endswith(".html"):
        raise ConfigurationError(f"{page} must end in .html")
    settings = find_settings(corpus, config)
    dedup = settings.config.dedup
    floor = dedup.options().floor if settings.made_it else None
    pairs, ids = read_pairs(corpus, floor)
    thresholds = read_grid(grid, pairs.graph.floor if len(pairs.graph) else -1.0)
    rank, protect = policy_order(corpus, ids, dedup)
    try:
        found = explore(pairs, rank, thresholds, ids, examples, seed, protect)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    strata = Strata.count(pairs.graph.similarity, cuts_around(thresholds))
    write_page(corpus, PageFacts(found, strata, settings), page)
    return Explored(found, settings, page)
