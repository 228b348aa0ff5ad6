"""Make readable what is refused: 64-bit floats, colour, and pages of unequal size."""

from pathlib import Path

import numpy as np
import tifffile

from longexposure import LongExposureError, read_radiograph

random = np.random.default_rng(0)
double = random.random((32, 40))
colour = random.integers(0, 255, (32, 40, 3), dtype=np.uint8)
pages = [random.integers(0, 65535, (32, 40 + n), dtype=np.uint16) for n in range(2)]
tifffile.imwrite("double.tif", double)
tifffile.imwrite("colour.tif", colour, photometric="rgb")
with tifffile.TiffWriter("unequal.tif") as writer:
    for page in pages:
        writer.write(page, contiguous=False)

tifffile.imwrite("float32.tif", tifffile.imread("double.tif").astype(np.float32))
tifffile.imwrite("green.tif", tifffile.imread("colour.tif")[..., 1])  # one channel, not a mixture
with tifffile.TiffFile("unequal.tif") as reader:
    for number, page in enumerate(reader.pages):
        tifffile.imwrite(f"page-{number}.tif", page.asarray())

for path in sorted(Path().glob("*.tif")):
    try:
        print(path, read_radiograph(path).pixels.shape)
    except LongExposureError as error:
        print(f"refused: {error}")
