"""What a server is asked for, and what it refuses."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from longexposure.errors import LongExposureError, RecipeError
from longexposure.io.defect_maps import DefectMap
from longexposure.noise.calibration import NoiseCalibration
from longexposure.service.ledger import LEASE_S

MEGA = 1_000_000


@dataclass(frozen=True)
class Serving:
    """Where is served, within which limits, and how images are enhanced.

    Attributes:
        data: the folder for all that is kept: originals, enhanced files, ledger, reports.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        token: what clients must say; None asks for none, on loopback alone.
        queue: images that are uploaded, wait or run at one time, at most.
        most_bytes: of an upload.
        most_pixels: that an image may declare, all pages together.
        wait_s: longest wait of a request for its enhanced image, seconds.
        upload_s: longest time of an upload, seconds.
        silent_s: longest time without a byte of an upload, seconds.
        keep_s: how long what ended is kept, seconds; None keeps it until it is deleted.
        strength, noise, bad_pixels, guard, compress, dataset: as `enhance_files`.
        lease_s: see `longexposure.service.ledger.LEASE_S`.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    queue: int = 32
    most_bytes: int = 256 * MEGA
    most_pixels: int = 64 * MEGA
    wait_s: float = 300.0
    upload_s: float = 600.0
    silent_s: float = 30.0
    keep_s: float | None = None
    strength: float = 1.0
    noise: NoiseCalibration | None = None
    bad_pixels: DefectMap | None = None
    guard: bool = False
    compress: str | None = None
    dataset: str | None = None
    lease_s: float = field(default=LEASE_S, repr=False)

    def check(self) -> None:
        """Refuse to be reached from other hosts without a token (raises RecipeError)."""
        if self.token is None and not is_loopback(self.host):
            raise RecipeError(
                where="--host",
                expected="a token for an address that other hosts reach",
                found=f"{self.host} and no token",
                advice="name a file with one (--token-file) or set LONGEXPOSURE_TOKEN, or stay on 127.0.0.1",
            )


class RefusedError(LongExposureError):
    """A request that is not done, with the status of HTTP that says so.

    Args:
        status: of HTTP.
        where, expected, found, advice: as of every error.
        retry_after: seconds after which the same may be done.
    """

    def __init__(
        self,
        status: int,
        *,
        where: str,
        expected: str,
        found: str,
        advice: str,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(where=where, expected=expected, found=found, advice=advice)
        self.status, self.retry_after = status, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def is_loopback(host: str) -> bool:
    """Whether an address or name is reached from this host alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
