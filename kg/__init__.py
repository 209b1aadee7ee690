"""Knowledge graph: not built yet. Entities, concepts and weights from Wikipedia will live here."""
