"""Files: TIFF, PNG and the X-ray microscope's own format, to radiographs and back.

The libraries that decode files are imported when a file is read, so that importing this is quick.
"""

from __future__ import annotations

from longexposure.io.files import (
    expand_inputs,
    images_in,
    natural_order,
    read_finite,
    read_radiograph,
    sidecar_path,
    write_radiograph,
)
from longexposure.io.formats import FORMATS, Format, writable_suffix
from longexposure.io.png import png_bytes
from longexposure.io.writing import check_writable_folder, remove_temporaries, write_whole

__all__ = [
    "FORMATS",
    "Format",
    "check_writable_folder",
    "expand_inputs",
    "images_in",
    "natural_order",
    "png_bytes",
    "read_finite",
    "read_radiograph",
    "remove_temporaries",
    "sidecar_path",
    "writable_suffix",
    "write_radiograph",
    "write_whole",
]
