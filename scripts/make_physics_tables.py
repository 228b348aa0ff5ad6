"""Makes the tables of `longexposure.physics`: attenuation of the elements and spectra of a tungsten tube.

Run it where xraydb and spekpy are installed; the package itself needs neither:

    pip install xraydb==4.5.8 spekpy==2.5.4
    python scripts/make_physics_tables.py [--out src/longexposure/simulation/physics] [--date 2026-01-31]

Equal versions and date give equal bytes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import spekpy
import xraydb

log = logging.getLogger("make_physics_tables")

ROOT = Path(__file__).resolve().parents[1]
ATOMIC_NUMBERS = (
    1, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 26, 28, 29, 30, 31, 33, 35, 46, 47, 49,
    50, 51, 53, 55, 56, 64, 73, 74, 79, 82, 83,
)  # fmt: skip
ELEMENTS = tuple(xraydb.atomic_symbol(number) for number in ATOMIC_NUMBERS)
"""Hydrogen to bismuth: what solders, boards, packages, chips, filters and screens are made of."""
LOWEST_KEV, HIGHEST_KEV, STEPS = 5.0, 160.0, 256
"""Steps of the logarithmic grid; log-log lines between them stay within 0.15 % of xraydb, mostly 0.02 %."""
BESIDE_EDGE = 3e-4
"""Relative distance from an edge of the nearest values that are trusted: the coefficients of xraydb jump up
to 1e-4 away from the energies it gives for the edges. The last stretch is extrapolated."""
TUBE_KV = tuple(range(40, 161, 2))
BIN_KEV = 0.5
TARGET_DEG = 20.0


def main() -> None:
    """Write materials.npz and spectra.npz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "longexposure" / "simulation" / "physics")
    parser.add_argument("--date", default=datetime.datetime.now(tz=datetime.UTC).date().isoformat())
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, table in (("materials", materials(arguments.date)), ("spectra", spectra(arguments.date))):
        path = arguments.out / f"{name}.npz"
        np.savez_compressed(path, **table)
        log.info("%s: %d bytes", path, path.stat().st_size)


def materials(date: str) -> dict[str, Any]:
    """One row after another for every element; an edge is two rows of the same energy, lower side first."""
    energies, totals, first_rows = [], [], [0]
    for element in ELEMENTS:
        energy, total = _rows(element)
        energies.append(energy)
        totals.append(total)
        first_rows.append(first_rows[-1] + len(energy))
    sources = {
        "mass_attenuation_cm2_g": "Elam, Ravel, Sieber, Radiat. Phys. Chem. 63 (2002) 121, by xraydb.mu_elam"
        " (total: photoelectric, coherent and incoherent)",
        "edges": "xraydb.xray_edges (Elam et al.)",
    }
    return {
        "elements": np.array(ELEMENTS),
        "first_row": np.array(first_rows, np.int32),
        "energy_kev": np.concatenate(energies),
        "mass_attenuation_cm2_g": np.concatenate(totals).astype(np.float32),
        "provenance": np.array(_provenance(date, sources, "xraydb")),
    }


def spectra(date: str) -> dict[str, Any]:
    """Photons per keV, cm2 and mAs at 1 m in bins of 0.5 keV, continuum and lines apart, one row per kV."""
    edges = np.arange(LOWEST_KEV, HIGHEST_KEV + BIN_KEV / 2, BIN_KEV)
    energy = 0.5 * (edges[:-1] + edges[1:])
    continuum, lines = (np.zeros((len(TUBE_KV), len(energy)), np.float32) for _ in range(2))
    for row, tube_kv in enumerate(TUBE_KV):
        for part, table in (("brem", continuum), ("char", lines)):
            tube = spekpy.Spek(
                kvp=tube_kv, th=TARGET_DEG, dk=BIN_KEV, targ="W", physics="casim", z=100, mas=1,
                brem=part == "brem", char=part == "char",
            )  # fmt: skip
            tube_energy, photons = tube.get_spectrum()
            column = np.rint((tube_energy - energy[0]) / BIN_KEV).astype(int)
            inside = column >= 0
            if not np.allclose(tube_energy[inside], energy[column[inside]]):
                raise ValueError("the bins of spekpy are not ours")
            table[row, column[inside]] = photons[inside]
    sources = {
        "spectra": f"spekpy, physics model casim, thick tungsten target at {TARGET_DEG} degrees, 1 m in"
        " vacuum, no filter but the target itself; photons below 5 keV left out"
    }
    return {
        "tube_kv": np.array(TUBE_KV, np.float64),
        "energy_kev": energy,
        "continuum_per_kev": continuum,
        "lines_per_kev": lines,
        "provenance": np.array(_provenance(date, sources, "spekpy")),
    }


def _rows(element: str) -> tuple[np.ndarray, np.ndarray]:
    """Energies in keV, every edge twice, and the coefficients on either side of it."""
    edges = sorted({edge.energy / 1e3 for edge in xraydb.xray_edges(element).values()})
    edges = [edge for edge in edges if LOWEST_KEV < edge < HIGHEST_KEV]
    energy = np.geomspace(LOWEST_KEV, HIGHEST_KEV, STEPS + 1)
    energy[[0, -1]] = LOWEST_KEV, HIGHEST_KEV
    for edge in edges:
        energy = energy[np.abs(energy / edge - 1) > BESIDE_EDGE]
    total = xraydb.mu_elam(element, energy * 1e3, kind="total")
    for edge in edges:
        near, far = (
            xraydb.mu_elam(element, edge * 1e3 * (1 + np.array([-step, step])), kind="total")
            for step in (BESIDE_EDGE, 2 * BESIDE_EDGE)
        )
        below_and_above = near**2 / far
        at = np.searchsorted(energy, edge)
        energy = np.insert(energy, at, [edge, edge])
        total = np.insert(total, at, below_and_above)
    return energy, total


def _provenance(date: str, sources: dict[str, str], *packages: str) -> str:
    facts = {
        "made_by": "scripts/make_physics_tables.py",
        "date": date,
        "versions": {name: version(name) for name in (*packages, "numpy")},
        "sources": sources,
    }
    return json.dumps(facts, sort_keys=True)


if __name__ == "__main__":
    main()
