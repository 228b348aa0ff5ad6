"""What lies in the beam: parts of chips and boards as solids in um, their defects, their thickness maps."""
