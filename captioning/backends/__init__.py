"""Captioners: an endpoint that serves a model, and a composer that needs none."""
