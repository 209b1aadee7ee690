"""Reading text in images: one interface, several engines, one reading order."""
