"""The neighbour graph by overlapping cells: exact inside a cell, never all in memory."""
