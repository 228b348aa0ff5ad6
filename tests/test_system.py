"""How much memory there is within the limits of container and process, that it ran out; facts of the host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from longexposure.system import as_memory_error, free_memory, host_facts, is_out_of_memory

GIB = 1 << 30
AVAILABLE = 8000000 * 1024


def pretend(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """A host with `AVAILABLE` bytes whose kernel tells this of groups and nothing else."""

    def read_text(path: Path) -> str:
        if str(path) not in files:
            raise FileNotFoundError(str(path))
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=AVAILABLE))


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


def test_free_memory_is_positive_and_no_more_than_the_host_has():
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_free_memory_without_limits_is_what_is_available(monkeypatch):
    pretend(monkeypatch, {})
    assert free_memory() == AVAILABLE


@pytest.mark.parametrize("error", [FileNotFoundError("/proc/meminfo"), psutil.AccessDenied(1)], ids=repr)
def test_free_memory_of_a_host_that_tells_nothing_is_a_careful_guess(monkeypatch, error):
    def refused() -> object:
        raise error

    pretend(monkeypatch, {})
    monkeypatch.setattr(psutil, "virtual_memory", refused)
    assert free_memory() == 2 * GIB


@pytest.mark.parametrize(
    ("limit", "used", "files", "expected"),
    [
        ("max", 3 * GIB, 0, AVAILABLE),
        (4 * GIB, 3 * GIB, 0, GIB),
        (4 * GIB, 4 * GIB, 3 * GIB, 3 * GIB),
        (4 * GIB, 5 * GIB, 0, 0),
        (100 * GIB, GIB, 0, AVAILABLE),
    ],
    ids=["no-limit", "limit", "full-of-files", "beyond", "limit-above-host"],
)
def test_free_memory_keeps_to_the_limit_of_a_container(monkeypatch, limit, used, files, expected):
    pretend(monkeypatch, second("", limit=limit, used=used, files=files))
    assert free_memory() == expected


def test_the_tightest_of_the_groups_around_the_process_counts(monkeypatch):
    own = {"/proc/self/cgroup": "0::/system.slice/line.service\n"}
    groups = (
        second("/system.slice/line.service", limit="max", used=3)
        | second("/system.slice", limit=2 * GIB, used=GIB, files=5)
        | second("/user.slice", limit=1, used=1)
    )
    pretend(monkeypatch, own | groups)
    assert free_memory() == GIB + 5


def test_a_limit_of_the_process_own_service_counts(monkeypatch):
    own = {"/proc/self/cgroup": "0::/system.slice/line.service\n"}
    inner = second("/system.slice/line.service", limit=512 << 20, used=200 << 20)
    pretend(monkeypatch, own | inner | second("/system.slice", limit="max", used=3))
    assert free_memory() == 312 << 20


def test_groups_of_the_first_version_count(monkeypatch):
    own = {"/proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/box/7\n1:cpuset:/\n0::/\n"}
    unlimited = first("", limit=9223372036854771712, used=GIB)
    pretend(monkeypatch, own | unlimited | first("/box/7", limit=GIB, used=GIB // 2, files=11))
    assert free_memory() == GIB // 2 + 11


def test_a_container_that_sees_only_its_own_group_counts(monkeypatch):
    own = {"/proc/self/cgroup": "4:memory:/docker/0123\n"}
    pretend(monkeypatch, own | first("", limit=GIB, used=GIB // 4))
    assert free_memory() == GIB - GIB // 4


@pytest.mark.parametrize("text", ["", "nonsense", "0::\n", "4:memory:/../../x\n"])
def test_groups_that_cannot_be_told_change_nothing(monkeypatch, text):
    pretend(monkeypatch, {"/proc/self/cgroup": text})
    assert free_memory() == AVAILABLE


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


def test_host_facts_name_processor_versions_and_commit() -> None:
    facts = json.loads(json.dumps(host_facts()))
    assert facts["processor"]
    assert facts["cores"]
    assert facts["threads"] >= 1
    assert facts["versions"].items() >= {"numpy": np.__version__, "torch": torch.__version__}.items()
    assert (facts["commit"] is None) == (facts["dirty"] is None)
    assert facts["commit"] is None or re.fullmatch(r"[0-9a-f]{40}", facts["commit"])
