"""Pairs of short and long exposures: drawn by the simulator, or read from folders."""
