"""Machines: whole X-ray systems as recipes, and the pairs of exposures that they take."""
