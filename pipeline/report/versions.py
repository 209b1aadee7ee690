"""What was installed where the report was written."""

from __future__ import annotations

import platform
from importlib import metadata

from pipeline import __version__

#: Libraries that shape rows, by the distributions that may provide them.
LIBRARIES = {
    "numpy": ("numpy",),
    "pyarrow": ("pyarrow",),
    "duckdb": ("duckdb",),
    "pillow": ("pillow",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "igraph": ("igraph",),
    "leidenalg": ("leidenalg",),
    "torch": ("torch",),
    "open_clip": ("open_clip_torch",),
    "rapidocr": ("rapidocr",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "ray": ("ray",),
}


def versions() -> dict[str, str | None]:
    """Version per library; ``None`` where it is not installed."""
    found = {name: _first_installed(names) for name, names in LIBRARIES.items()}
    return {"winnow": __version__, "python": platform.python_version(), **found}


def _first_installed(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None
