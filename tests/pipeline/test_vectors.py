"""``winnow dedup``: vectors in a file, decisions in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.console import Exit
from pipeline.vectors import deduplicate_file, load_vectors
from stages.contract import ConfigurationError


def vectors(copies: int = 3) -> np.ndarray:
    """Twenty unlike directions; the first one comes again, a little turned, some times."""
    random = np.random.default_rng(0)
    base = random.standard_normal((20, 32)).astype(np.float32)
    near = base[:1] + 0.02 * random.standard_normal((copies, 32)).astype(np.float32)
    return np.concatenate([base, near])


def parquet(path: Path, values: np.ndarray, kind: str) -> Path:
    element = pa.from_numpy_dtype(values.dtype)
    types = {
        "list": pa.list_(element),
        "large": pa.large_list(element),
        "fixed": pa.list_(element, values.shape[1]),
    }
    pq.write_table(pa.table({"vector": pa.array(list(values), types[kind])}), path)
    return path


def test_every_row_is_kept_or_names_a_kept_witness(tmp_path: Path) -> None:
    given = vectors()
    np.save(tmp_path / "v.npy", given)
    line = deduplicate_file(tmp_path / "v.npy", 0.9, str(tmp_path / "out.parquet"))
    assert line.startswith("23 vectors = 20 kept + 3 removed; ")
    rows = pq.read_table(tmp_path / "out.parquet")
    assert rows.column_names == ["row", "cluster", "keep", "witness", "similarity"]
    assert rows.column("row").to_pylist() == list(range(23))
    unit = given / np.linalg.norm(given, axis=1, keepdims=True)
    kept = {row["row"] for row in rows.to_pylist() if row["keep"]}
    for row in rows.to_pylist():
        if row["keep"]:
            assert row["witness"] is None
            continue
        assert row["witness"] in kept
        cosine = float(unit[row["row"]] @ unit[row["witness"]])
        assert row["similarity"] == pytest.approx(cosine, abs=1e-5)
        assert cosine >= 0.9
    copies = {row["cluster"] for row in rows.to_pylist() if row["row"] in {0, 20, 21, 22}}
    assert len(copies) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
def test_parquet_gives_what_npy_gives(tmp_path: Path, dtype: type, kind: str) -> None:
    given = vectors().astype(dtype)
    np.save(tmp_path / "v.npy", given)
    deduplicate_file(tmp_path / "v.npy", 0.9, str(tmp_path / "a.parquet"))
    deduplicate_file(parquet(tmp_path / "v.parquet", given, kind), 0.9, str(tmp_path / "b.parquet"))
    assert pq.read_table(tmp_path / "a.parquet") == pq.read_table(tmp_path / "b.parquet")
    assert load_vectors(tmp_path / "v.parquet", "vector").dtype == dtype


def test_no_vectors_give_no_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros((0, 8), np.float32))
    line = deduplicate_file(tmp_path / "v.npy", 0.9, str(tmp_path / "out.parquet"))
    assert line.startswith("0 vectors = 0 kept + 0 removed")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(4, np.float32), r"floats of shape \(n, d\), got float32 \(4,\)"),
        (np.ones((3, 4), np.int32), r"floats of shape \(n, d\), got int32 \(3, 4\)"),
        (np.ones((3, 0), np.float32), "d >= 1"),
        (np.zeros((3, 4), np.float32), r"without a direction .* rows 0, 1, 2"),
        (np.full((2, 4), np.nan, np.float32), "without a direction"),
    ],
)
def test_arrays_that_are_no_vectors_are_told(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "v.npy", values)
    with pytest.raises(ConfigurationError, match=message):
        deduplicate_file(tmp_path / "v.npy", 0.9, str(tmp_path / "out.parquet"))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.npy", b"", "not an .npy file of plain numbers"),
        ("v.npy", b"junk", "not an .npy file of plain numbers"),
        ("v.parquet", b"", "not a Parquet file"),
        ("v.parquet", b"junk and more", "not a Parquet file"),
        ("v.csv", b"1,2", r"must end in \.npy or \.parquet"),
    ],
)
def test_files_that_are_none_are_told(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        deduplicate_file(tmp_path / name, 0.9, str(tmp_path / "out.parquet"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("absent", "has no column 'absent'; name one with --column: ragged, null, text, number"),
        ("ragged", "different dimensions"),
        ("null", "1 nulls"),
        ("text", "must be float16, float32 or float64"),
        ("number", "is int64, not lists of floats"),
    ],
)
def test_columns_that_hold_no_vectors_are_told(tmp_path: Path, column: str, message: str) -> None:
    table = pa.table(
        {
            "ragged": [[1.0], [1.0, 2.0]],
            "null": [[1.0], None],
            "text": [["a"], ["b"]],
            "number": [1, 2],
        }
    )
    pq.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(ConfigurationError, match=message):
        deduplicate_file(tmp_path / "v.parquet", 0.9, str(tmp_path / "out.parquet"), column)


def test_the_command_s_exit_codes(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", vectors())
    output = str(tmp_path / "out.parquet")

    def run(*arguments: str) -> int:
        return CliRunner().invoke(app, ["dedup", *arguments]).exit_code

    assert run(str(tmp_path / "v.npy"), "--threshold", "0.9", "-o", output) == Exit.DONE
    assert run(str(tmp_path / "v.npy"), "--threshold", "1.3", "-o", output) == Exit.USAGE
    assert run(str(tmp_path / "w.npy"), "--threshold", "0.9", "-o", output) == Exit.USAGE
    assert run(str(tmp_path / "v.npy"), "--threshold", "0.9", "-o", "out.csv") == Exit.USAGE
    blocked = str(tmp_path / "v.npy" / "out.parquet")
    assert run(str(tmp_path / "v.npy"), "--threshold", "0.9", "-o", blocked) == Exit.FAILED
