#!/bin/sh
# Pillow 13.0.0 gives other grey values than the file holds for a big-endian TIFF of 32-bit samples (float or
# signed integer) that is compressed (deflate, LZW or PackBits): the bytes of every sample are left swapped. No
# error, no warning. The same file uncompressed, little-endian, or of 16-bit samples is read right, and tifffile
# reads all of them right. Detector and CT software that writes 32-bit TIFF big-endian (ImageJ's byte order) is
# where a radiographer meets it: grey values around 100 become anything up to 1e38.
#
# Seen with: Pillow 13.0.0, tifffile 2026.3.3, imagecodecs 2026.3.6, numpy 2.4.6, Python 3.11, Linux x86-64:
#   > none      float32 right    > none      int32 right    > none      uint16 right
#   > deflate   float32 SWAPPED  > deflate   int32 SWAPPED  > deflate   uint16 right
#   > lzw       float32 SWAPPED  > lzw       int32 SWAPPED  > lzw       uint16 right
#   > packbits  float32 SWAPPED  > packbits  int32 SWAPPED  > packbits  uint16 right
# Fails where that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
"$work/venv/bin/python" - "$work/image.tif" <<'PYTHON'
import sys

import numpy as np
import tifffile
from PIL import Image

path = sys.argv[1]
grey = np.linspace(1, 200, 48 * 64).reshape(48, 64)
seen = {}
for compression in (None, "deflate", "lzw", "packbits"):
    for dtype in ("float32", "int32", "uint16"):
        image = grey.astype(dtype)
        for order in "<>":
            tifffile.imwrite(path, image, byteorder=order, compression=compression)
            assert np.array_equal(tifffile.imread(path), image), "tifffile reads it right"
            with Image.open(path) as opened:
                read = np.asarray(opened)
            kind = "right" if np.array_equal(read, image) else "other"
            if kind == "other" and np.array_equal(read.byteswap(), image):
                kind = "SWAPPED"
            seen[order, compression, dtype] = kind
            print(order, compression or "none", dtype, kind)
for (order, compression, dtype), kind in seen.items():
    swapped = order == ">" and compression is not None and dtype in ("float32", "int32")
    assert kind == ("SWAPPED" if swapped else "right"), (order, compression, dtype, kind)
PYTHON
