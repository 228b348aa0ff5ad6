"""Whose fault it is that a file was not enhanced."""

from __future__ import annotations

import errno
import os
import struct
import sys

import pytest

from longexposure.errors import CheckpointError, InputError, LongExposureError, OutputError, ResourceError
from longexposure.service.verdict import errno_of, is_its_own


def caused(kind: type[LongExposureError], *causes: BaseException) -> LongExposureError:
    error = kind(where="a.tif", expected="an image", found="none", advice="look")
    link: BaseException = error
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return error


def lacking(thing: object) -> AttributeError:
    try:
        thing.no_such_thing  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        caused(InputError),
        caused(InputError, struct.error("unpack requires 4 bytes")),
        caused(InputError, ValueError("negative dimensions")),
        caused(InputError, OSError("image file is truncated")),
        caused(InputError, OSError(errno.EINVAL, "Invalid argument")),
        caused(InputError, lacking(None)),
        caused(InputError, UnboundLocalError("page")),
        caused(OutputError, OSError(errno.ENAMETOOLONG, "File name too long")),
    ],
    ids=repr,
)
def test_content_and_names_are_the_files_own(error: LongExposureError) -> None:
    assert is_its_own(error)


@pytest.mark.parametrize(
    "error",
    [
        caused(LongExposureError, RuntimeError("a fault of ours")),
        caused(ResourceError, MemoryError()),
        caused(CheckpointError),
        caused(OutputError),
        caused(InputError, MemoryError()),
        caused(InputError, ImportError("no imagecodecs")),
        caused(InputError, ValueError("wrapped"), ModuleNotFoundError("no zlib")),
        caused(InputError, NameError("np")),
        caused(InputError, lacking(sys)),
        *(
            caused(InputError, OSError(number, os.strerror(number)))
            for number in (errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE, errno.ENOTCONN, errno.ENOMEM)
        ),
        caused(OutputError, OSError(errno.ENOSPC, "No space left on device")),
        caused(OutputError, OSError(errno.EINVAL, "Invalid argument")),
    ],
    ids=repr,
)
def test_the_system_packages_and_output_are_not(error: LongExposureError) -> None:
    assert not is_its_own(error)


def test_the_number_of_the_system_is_found_wherever_it_is() -> None:
    deep = caused(InputError, ValueError("wrapped"), OSError("no number"), OSError(errno.EIO, "deep"))
    assert errno_of(deep) == errno.EIO
    assert errno_of(caused(InputError, ValueError("none"))) is None
