"""Attenuation, spectra, scatter and blur."""
