"""Benchmarks: every script prints a ratio and its bound."""
