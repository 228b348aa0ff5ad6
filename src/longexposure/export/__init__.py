"""Models as files for other engines, and how fast and exact each engine is here."""
