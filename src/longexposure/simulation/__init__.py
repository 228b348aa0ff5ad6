"""X-ray machines: what lies in the beam, the beam, the detector, and the exposures they take.

Imports nothing of the product but errors, config and the noise profile.
"""
