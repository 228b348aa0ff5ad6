"""What lies in the beam: parts of chips and boards as primitives in um, their defects, their thickness maps."""
