"""Captioners: an endpoint or a local model, and a composer that needs neither."""
