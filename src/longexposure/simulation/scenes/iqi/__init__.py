"""Image quality indicators: many small details of known contrast, for the limit of what an image shows.

Plates with holes (ASTM E1742, contrast-detail grids), wires in series and duplex wires (ISO 19232-1 and -5,
ASTM E2597), lines with opens, shorts and notches, raised or cut; alone or over something whose grey range is
wider than theirs. Details lie on or in faces near z = 0; what they lie over ends there.
"""
