"""Rims of boards: words, codes, fiducials and outlines over traces and planes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from longexposure.simulation.geometry.primitives import Scene
from longexposure.simulation.geometry.view import View
from longexposure.simulation.scenes.boards import plane
from longexposure.simulation.scenes.copper import empty_board
from longexposure.simulation.scenes.kind import SceneKind
from longexposure.simulation.scenes.layout import Random, bernoulli
from longexposure.simulation.scenes.marks import marks
from longexposure.simulation.scenes.routes import bundle, wander

_VIAS_FROM_UM = 5.0
"""With smaller pixels the land of one via is larger than most that is written."""


def legend(random: Random, *, view: View) -> Scene:
    """Words, codes, fiducials and outlines densely on a board, with bundles of traces or a plane below."""
    board = empty_board(random, view, layers=(2, 4))
    lower = range(1, len(board.layers))
    covered = [level for level in lower if bernoulli(random, 0.4)]
    for level in lower:
        draw = bundle if bernoulli(random, 0.7) else wander
        for _ in range(0 if level in covered else int(random.integers(2, 9))):
            draw(board, level)
    for _ in range(int(random.integers(0, 9)) if view.pixel_um > _VIAS_FROM_UM else 0):
        board.via(board.sheet.anywhere(random), [])
    for level in covered:
        plane(board, level)
    found = marks(random, view, sheet=board.sheet, bottom_um=board.thickness / 2, tries=(25, 60))
    board.primitives += found
    scene = board.scene("legend")
    return replace(scene, facts={**scene.facts, "marks": len(found)})


MARK_SCENES: Mapping[str, SceneKind] = {
    "legend": SceneKind(
        legend, (1.0, 80.0), "part numbers, date codes, fiducials and outlines in copper on a board"
    ),
}
