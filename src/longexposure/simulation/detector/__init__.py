"""Detectors, quantum by quantum: flat panels, and the video chain of older machines."""
