"""Signals of one image that need no trained model: of its pixels, and of its encoding."""
