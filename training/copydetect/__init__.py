"""Training of the ``builtin`` embedder."""
