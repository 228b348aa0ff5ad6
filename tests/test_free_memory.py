"""How much memory there is within the limits of containers, services and processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from longexposure.tiles import free_memory

GIB = 1 << 30
MACHINE = {"/proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n"}


def pretend(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """A machine whose kernel tells this and nothing else."""

    def read_text(path: Path) -> str:
        if str(path) not in files:
            raise FileNotFoundError(str(path))
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)


def second(folder: str, *, limit: object, used: int, files: int = 0) -> dict[str, str]:
    """A control group of version 2."""
    stat = f"anon 7\ninactive_file {files}\nactive_file 0\n"
    root = f"/sys/fs/cgroup{folder}/memory."
    return {root + "max": f"{limit}\n", root + "current": f"{used}\n", root + "stat": stat}


def first(folder: str, *, limit: int, used: int, files: int = 0) -> dict[str, str]:
    """A control group of version 1, whose totals hold the groups inside."""
    stat = f"cache 1\nactive_file 3\ntotal_inactive_file 0\ntotal_active_file {files}\n"
    root = f"/sys/fs/cgroup/memory{folder}/memory."
    return {root + "limit_in_bytes": str(limit), root + "usage_in_bytes": str(used), root + "stat": stat}


def test_the_tightest_of_the_groups_around_the_process_counts(monkeypatch):
    own = {"/proc/self/cgroup": "0::/system.slice/line.service\n"}
    groups = (
        second("/system.slice/line.service", limit="max", used=3)
        | second("/system.slice", limit=2 * GIB, used=GIB, files=5)
        | second("/user.slice", limit=1, used=1)
    )
    pretend(monkeypatch, MACHINE | own | groups)
    assert free_memory() == GIB + 5


def test_a_limit_of_the_process_own_service_counts(monkeypatch):
    own = {"/proc/self/cgroup": "0::/system.slice/line.service\n"}
    inner = second("/system.slice/line.service", limit=512 << 20, used=200 << 20)
    pretend(monkeypatch, MACHINE | own | inner | second("/system.slice", limit="max", used=3))
    assert free_memory() == 312 << 20


def test_groups_of_the_first_version_count(monkeypatch):
    own = {"/proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/box/7\n1:cpuset:/\n0::/\n"}
    unlimited = first("", limit=9223372036854771712, used=GIB)
    pretend(monkeypatch, MACHINE | own | unlimited | first("/box/7", limit=GIB, used=GIB // 2, files=11))
    assert free_memory() == GIB // 2 + 11


def test_a_container_that_sees_only_its_own_group_counts(monkeypatch):
    own = {"/proc/self/cgroup": "4:memory:/docker/0123\n"}
    pretend(monkeypatch, MACHINE | own | first("", limit=GIB, used=GIB // 4))
    assert free_memory() == GIB - GIB // 4


@pytest.mark.parametrize("text", ["", "nonsense", "0::\n", "4:memory:/../../x\n"])
def test_groups_that_cannot_be_told_change_nothing(monkeypatch, text):
    pretend(monkeypatch, MACHINE | {"/proc/self/cgroup": text})
    assert free_memory() == 8000000 * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="limits that Linux counts")
@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_process_counts(kind):
    code = f"""
import resource
resource.setrlimit(resource.{kind}, (3 << 30, 3 << 30))
import numpy
from longexposure.tiles import free_memory
before = free_memory()
held = numpy.ones(1 << 27, numpy.float64)
print(before, free_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 0 < before <= 3 * GIB
    assert before - after == pytest.approx(GIB, rel=0.05)
