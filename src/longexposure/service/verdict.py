"""What is to blame for a file that was not enhanced: the file itself, or something else.

Only a file whose content (or name) is wrong belongs into quarantine. A disk that is full, a share that is
gone, memory that ran out, a package that was replaced beneath us or a fault of ours says nothing of the file.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from types import ModuleType

from longexposure.errors import InputError, LongExposureError


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


NO_ROOM = _numbers("ENOSPC", "EDQUOT")
"""What the system says of a disk that is full."""

SYSTEM = NO_ROOM | _numbers(
    *("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH"),
    *("ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "EPIPE", "EPROTO", "EREMOTEIO", "ENODEV", "ENXIO"),
    *("EBUSY", "EAGAIN", "EINTR", "EDEADLK", "ENOLCK", "ENOMEM", "EMFILE", "ENFILE", "ENOSYS", "EOPNOTSUPP"),
    *("EROFS", "EACCES", "EPERM", "ENOENT", "ENOTDIR", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED"),
)
"""What it says of disks, shares, permissions and memory, which no content of a file brings about."""


def is_its_own(error: LongExposureError) -> bool:
    """Whether the file itself is to blame."""
    if errno_of(error) == errno.ENAMETOOLONG:
        return True
    return isinstance(error, InputError) and not any(map(_is_elsewhere, _causes(error)))


def errno_of(error: BaseException) -> int | None:
    """The system's number in an error or in what caused it."""
    numbers = (cause.errno for cause in _causes(error) if isinstance(cause, OSError))
    return next((number for number in numbers if number is not None), None)


def _is_elsewhere(cause: BaseException) -> bool:
    """Whether what caused an error lies outside of any file: in the system, or in the packages."""
    if isinstance(cause, OSError):
        return cause.errno in SYSTEM
    if isinstance(cause, AttributeError):  # of a damaged file's parts, or of a package that lacks something
        return isinstance(cause.obj, ModuleType)
    if isinstance(cause, UnboundLocalError):
        return False
    return isinstance(cause, MemoryError | ImportError | NameError | SyntaxError | SystemError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what caused it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__
