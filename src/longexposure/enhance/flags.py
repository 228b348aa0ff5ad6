"""What the guard found, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MOST_TOLD = 200
"""Flags of a page that a history holds, the strongest; all are counted."""


@dataclass(frozen=True)
class Flag:
    """A place to look at in the original.

    Attributes:
        y: first row of its box, px.
        x: first column.
        height: rows.
        width: columns.
        deviations: largest response of a matched filter there, in standard deviations of what noise gives.
        data: whether the original is "brighter" or "darker" there than the enhanced image.
    """

    y: int
    x: int
    height: int
    width: int
    deviations: float
    data: str

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "deviations": round(self.deviations, 2)}


def recorded(flags: Sequence[Flag]) -> dict[str, Any]:
    """What a page's history says of its flags."""
    return {"count": len(flags), "strongest": [flag.as_dict() for flag in flags[:MOST_TOLD]]}


def flags_in(pages: Sequence[Mapping[str, Any]]) -> tuple[int, list[dict[str, Any]]] | None:
    """How many flags the pages of a history have, and the strongest, with their pages from 1.

    None where nobody looked for any.
    """
    if not any("flags" in page for page in pages):
        return None
    found = [(number, page["flags"]) for number, page in enumerate(pages, start=1) if "flags" in page]
    told = [{"page": number, **flag} for number, flags in found for flag in flags["strongest"]]
    return sum(flags["count"] for _, flags in found), sorted(told, key=lambda flag: -flag["deviations"])


def middle_of(flag: Mapping[str, Any]) -> tuple[int, int]:
    """The pixel (x, y) in the middle of a flag's box."""
    return flag["x"] + flag["width"] // 2, flag["y"] + flag["height"] // 2


def in_words(count: int, strongest: Mapping[str, Any], *, pages: int) -> str:
    """What is warned of: how many flags there are on so many pages, and the strongest of them."""
    x, y = middle_of(strongest)
    on = f" on page {strongest['page']}" if pages > 1 else ""
    places = "one place" if count == 1 else f"{count} places"
    return (
        f"{places} where what was taken away is not noise, most clearly{on} at y={y}, x={x} "
        f"({strongest['deviations']:.1f} standard deviations; the original is {strongest['data']}): "
        "look at the original there"
    )
