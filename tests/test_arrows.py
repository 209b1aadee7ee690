"""Who may know whom: pipeline -> stages -> the domain packages, and nothing back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOMAIN = ("dedup", "captioning", "kg", "generator")
ALL = ("pipeline", "stages", *DOMAIN)

#: What each package may import of our own and of what binds it to a machinery.
ALLOWED = {
    "pipeline": {"pipeline", "stages", *DOMAIN},
    "stages": {"stages", *DOMAIN},
    **{name: {name} for name in DOMAIN},
}
#: Domain packages work from a notebook: no cluster, no file layout, no settings files.
BARRED = {name: {"ray", "fsspec", "duckdb_engine", "typer"} for name in DOMAIN}


def imports_of(source: str) -> Iterator[tuple[int, str]]:
    """Every module that a source file imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def violations(package: str, source: str, name: str) -> list[str]:
    """Imports of one file that go against the arrows."""
    found = []
    for line, module in imports_of(source):
        top = module.split(".")[0]
        ours = top in ALL and top not in ALLOWED[package]
        if ours or top in BARRED.get(package, set()):
            found.append(f"{name}:{line} imports {module}")
    return found


@pytest.mark.parametrize("package", ALL)
def test_imports_follow_the_arrows(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"package {package} has no files"
    bad = [
        violation
        for file in files
        for violation in violations(package, file.read_text("utf-8"), str(file.relative_to(ROOT)))
    ]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("package", ["pipeline", "stages"])
def test_ray_stays_where_stages_are_run(package: str) -> None:
    users = {
        str(file.relative_to(ROOT))
        for file in (ROOT / package).rglob("*.py")
        for _, module in imports_of(file.read_text("utf-8"))
        if module.split(".")[0] == "ray"
    }
    assert users <= {"pipeline/ray_executor.py"}


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("dedup", "from stages.corpus import Corpus"),
        ("dedup", "import captioning"),
        ("captioning", "def f():\n    import ray"),
        ("stages", "from pipeline.config import Config"),
        ("kg", "import dedup.graph"),
    ],
)
def test_an_arrow_turned_round_is_seen(package: str, line: str) -> None:
    assert violations(package, line, "x.py")
