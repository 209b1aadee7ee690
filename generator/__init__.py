"""Generator: not built yet. The embedded S3-DiT and the probing of voids will live here."""
