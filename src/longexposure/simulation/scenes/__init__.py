"""What lies in the beam: scenes of chips and boards, drawn at random as primitives in um."""
