"""The audit report: ``audit.json`` for machines and one self-contained page for people."""

from __future__ import annotations

from pipeline.report.write import write_report

__all__ = ["write_report"]
