"""Faults that are put into a scene, and where a view shows them."""
