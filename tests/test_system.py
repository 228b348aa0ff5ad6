"""How much memory there is within the limits of containers, services and processes, and that it ran out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from longexposure.system import as_memory_error, free_memory, is_out_of_memory

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


def test_free_memory_is_positive_and_no_more_than_the_machine_has():
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_free_memory_is_what_the_kernel_calls_available(monkeypatch):
    pretend(monkeypatch, MACHINE)
    assert free_memory() == 8000000 * 1024


@pytest.mark.parametrize(
    ("limit", "used", "files", "expected"),
    [
        ("max", 3 * GIB, 0, 8000000 * 1024),
        (4 * GIB, 3 * GIB, 0, GIB),
        (4 * GIB, 4 * GIB, 3 * GIB, 3 * GIB),
        (4 * GIB, 5 * GIB, 0, 0),
        (100 * GIB, GIB, 0, 8000000 * 1024),
    ],
    ids=["no-limit", "limit", "full-of-files", "beyond", "limit-above-machine"],
)
def test_free_memory_keeps_to_the_limit_of_a_container(monkeypatch, limit, used, files, expected):
    pretend(monkeypatch, MACHINE | second("", limit=limit, used=used, files=files))
    assert free_memory() == expected


@pytest.mark.parametrize("meminfo", [None, "", "MemAvailable:\n", "MemAvailable: much\n"])
def test_free_memory_without_meminfo_is_half_the_machine(monkeypatch, meminfo):
    pretend(monkeypatch, {} if meminfo is None else {"/proc/meminfo": meminfo})
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert free_memory() == 1000 * 4096 // 2


def test_free_memory_on_a_machine_that_tells_nothing_is_a_careful_guess(monkeypatch):
    pretend(monkeypatch, {})

    def unknown(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", unknown)
    assert free_memory() == 2 * GIB


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
from longexposure.system import free_memory
before = free_memory()
held = numpy.ones(1 << 27, numpy.float64)
print(before, free_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 0 < before <= 3 * GIB
    assert before - after == pytest.approx(GIB, rel=0.05)


RAN_OUT = [
    MemoryError(),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ..."),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    RuntimeError("[CPU] DepthToSpace node with name 'node_pixel_shuffle' can't alloc"),
    RuntimeError("Exception from src/x.cpp: std::bad_alloc"),
    RuntimeError("Check 'ptr' failed at src/cpu_memory.cpp:257:\nFailed to allocate 64 bytes of memory"),
    OSError("bad allocation"),
    RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 8"),
]


@pytest.mark.parametrize("error", RAN_OUT, ids=str)
def test_every_library_that_runs_out_of_memory_is_understood(error: Exception) -> None:
    assert is_out_of_memory(error)
    with pytest.raises(MemoryError), as_memory_error():
        raise error


def test_other_errors_are_not_taken_for_it() -> None:
    error = ValueError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_out_of_memory(error)
    with pytest.raises(ValueError, match="mat1"), as_memory_error():
        raise error
