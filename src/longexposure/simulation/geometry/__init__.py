"""From primitives in um to maps of thickness."""
