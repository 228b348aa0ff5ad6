"""What the headers inside a file declare, checked before memory is taken for it."""

from __future__ import annotations

import struct
from typing import BinaryIO

from longexposure.io.checks import damaged

_COMPOUND_SHIFTS = {9, 12}


def check_compound(file: BinaryIO, size: int, where: str) -> None:
    """Refuse a compound file whose tables are longer than the file ([MS-CFB], section 2.2).

    Raises:
        InputError: as said, or sectors of another size than the format has.
    """
    file.seek(0)
    head = file.read(512)
    if len(head) < 512:
        raise damaged(where, expected="a compound file of 512 bytes or more", found=f"{size} bytes")
    shift, mini = struct.unpack_from("<HH", head, 30)
    (tables,) = struct.unpack_from("<I", head, 44)
    mini_tables, _, chained = struct.unpack_from("<III", head, 64)
    if shift not in _COMPOUND_SHIFTS or mini != 6:
        expected = "sectors of 512 or 4096 bytes, short ones of 64"
        raise damaged(where, expected=expected, found=f"2**{shift} and 2**{mini}")
    needed = (tables + mini_tables + chained) << shift
    if needed > size:
        raise damaged(where, expected=f"{needed} bytes of tables", found=f"a file of {size} bytes")
