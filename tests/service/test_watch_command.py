"""`longexposure watch` as a process: killed at any moment, ended by signals, shared by two."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tifffile
from hot import image, wait_for
from quick import noisy

from longexposure.models.checkpoint import sha256_of

SLOW = ("--model", "nlm")
"""Takes long enough for a file to be killed in the middle of one."""


@pytest.fixture
def start(source: Path, out: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts watchers, none of which outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*more: str, model: tuple[str, ...] = ("--model", "gaussian")) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "longexposure", "watch", str(source), "--out", str(out)]
        process = subprocess.Popen(
            [*command, "--settle", "0.05", *model, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def images(folder: Path, count: int, side: int = 64) -> None:
    for number in range(count):
        tifffile.imwrite(folder / f"{number}.tif", noisy(number, (side, side)))


def rows(out: Path) -> list[tuple[str, str, str]]:
    connection = sqlite3.connect(out / "ledger.sqlite")
    try:
        return connection.execute("SELECT source, state, output_sha256 FROM jobs ORDER BY number").fetchall()
    finally:
        connection.close()


def check_all_done(source: Path, out: Path, seen: dict[str, int]) -> None:
    """Each file has one job, which is done, and one enhanced file, which was made once."""
    entries = rows(out)
    assert [state for _, state, _ in entries] == ["done"] * len(entries)
    assert {entry: sha256 for entry, _, sha256 in entries} == {
        str(path): sha256_of(out / path.name) for path in source.iterdir()
    }
    assert len(entries) == len(list(source.iterdir()))
    assert list(out.rglob("*.part")) == []
    assert {name: (out / name).stat().st_ino for name in seen} == seen


def note_new(out: Path, seen: dict[str, int]) -> None:
    """Remember which file each enhanced one is; a file that is made again is another one."""
    for path in out.glob("*.tif"):
        seen.setdefault(path.name, path.stat().st_ino)


def kill_again_and_again(start, source: Path, out: Path, *, count: int, kills: int) -> None:
    random_wait = random.Random(0)
    images(source, count, side=160)
    seen: dict[str, int] = {}
    for kill in range(kills):
        process = start("--poll", model=SLOW)
        wanted = len(seen) + 1
        wait_for(lambda wanted=wanted: len(list(out.glob("*.tif"))) >= wanted)
        time.sleep(random_wait.uniform(0, 0.4))
        process.kill()
        process.communicate()
        note_new(out, seen)
        assert len(seen) < count, f"the last kill, {kill}, came too late to tell anything"
    process = start("--once", model=SLOW)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors.count("error") == 0
    check_all_done(source, out, seen)
    assert "enhanced in" in said


def test_killed_in_the_middle_the_same_command_goes_on_and_each_file_is_done_once(start, source, out) -> None:
    kill_again_and_again(start, source, out, count=12, kills=2)


@pytest.mark.slow
def test_killed_twenty_times_each_file_is_done_once(start, source, out) -> None:
    kill_again_and_again(start, source, out, count=120, kills=20)


@pytest.mark.slow
def test_killed_at_twenty_random_moments_none_is_lost_and_none_done_twice(start, source, out) -> None:
    """While it starts, looks, hashes, computes, writes; alone or two of them; bad files among the others."""
    moments, seen, made = random.Random(1), {}, 0
    began = time.monotonic()
    start("--once", model=SLOW).communicate(timeout=300)
    start_s = time.monotonic() - began
    bad = {source / f"bad{kill}.tif" for kill in range(0, 20, 5)}
    for kill in range(20):
        for _ in range(3):
            image(source / f"{made}.tif", made)
            made += 1
        if (path := source / f"bad{kill}.tif") in bad:
            path.write_text("no image")
        processes = [start("--poll", model=SLOW) for _ in range(1 + kill % 2)]
        time.sleep(moments.uniform(0, 3 * start_s))
        for process in processes:
            process.kill()
            process.communicate()
        note_new(out, seen)
    _, errors = start("--once", model=SLOW).communicate(timeout=300)
    assert "unexpected" not in errors
    assert 0 < len(seen) <= made
    told = {(entry, state) for entry, state, _ in rows(out)}
    assert len(rows(out)) == made + len(bad)
    assert told == {(str(path), "failed" if path in bad else "done") for path in source.iterdir()}
    assert {path.name for path in out.glob("*.tif")} == {f"{number}.tif" for number in range(made)}
    assert {name: (out / name).stat().st_ino for name in seen} == seen
    assert {path.name for path in (out / "quarantine").iterdir()} == {f"{path.name}.txt" for path in bad}
    assert list(out.rglob("*.part")) == []


def test_two_watchers_share_the_work_and_one_that_is_killed_leaves_its_file_to_the_other(
    start, source, out
) -> None:
    first = start("--poll", model=SLOW)
    wait_for(lambda: (out / "ledger.sqlite").exists())
    second = start("--poll", model=SLOW)
    images(source, 16, side=160)
    seen: dict[str, int] = {}
    wait_for(lambda: len(list(out.glob("*.tif"))) >= 6)
    note_new(out, seen)
    first.kill()
    first.communicate()
    wait_for(lambda: all(state == "done" for _, state, _ in rows(out)) and len(rows(out)) == 16)
    second.send_signal(signal.SIGTERM)
    said, errors = second.communicate(timeout=60)
    assert second.returncode == 0, errors
    assert 1 <= said.count("enhanced in") < 16
    check_all_done(source, out, seen)


def test_sigterm_finishes_the_file_at_hand_and_leaves_the_rest(start, source, out) -> None:
    images(source, 8, side=256)
    process = start("--poll", "--log", str(out.parent / "w.log"), model=SLOW)
    wait_for(lambda: out.exists() and len(list(out.glob("*.tif"))) >= 2)
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    states = [state for _, state, _ in rows(out)]
    done = states.count("done")
    assert 2 <= done < 8
    assert states == ["done"] * done + ["waiting"] * (8 - done)
    assert said.splitlines()[-1] == f"{done} enhanced, {8 - done} not done"
    assert len(list(out.glob("*.tif"))) == done
    log = (out.parent / "w.log").read_text().splitlines()
    assert sorted(line.split(" ", 2)[2] for line in log) == sorted((said + errors).splitlines())


def test_once_tells_the_first_failure_by_its_code_and_ctrl_c_and_sigterm_by_theirs(
    start, source, out
) -> None:
    (source / "bad.tif").write_text("no image")
    images(source, 1)
    process = start("--once", "--quiet")
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said) == (3, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1 + errors.count("warning")
    images(source, 30, side=200)
    process = start("--once", model=SLOW)
    wait_for(lambda: len(list(out.glob("*.tif"))) >= 3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted: finished files stay, and the same command goes on"


def test_without_watchfiles_it_says_what_to_install_and_once_works(source: Path, out: Path) -> None:
    code = """
import sys
from longexposure import system
found = system.find_spec
system.find_spec = lambda name: None if name == "watchfiles" else found(name)
sys.modules["watchfiles"] = None
from longexposure.cli.app import app
app(sys.argv[1:], prog_name="longexposure")
"""
    images(source, 1)
    command = [sys.executable, "-c", code, "watch", str(source), "--out", str(out), "--settle", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1].endswith("run `pip install 'longexposure[plant]'`")
    done = subprocess.run(
        [*command, "--once", "--model", "gaussian"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (out / "0.tif").is_file()


@pytest.mark.parametrize("once", [True, False])
def test_sigterm_does_not_wait_for_a_huge_file_to_be_hashed(start, source, out, once: bool) -> None:
    images(source, 1)
    with (source / "huge.tif").open("wb") as file:
        file.truncate(1 << 43)
    os.utime(source / "huge.tif", (1, 1))  # the first whose turn it is
    process = start(*(["--once"] if once else ["--poll"]))
    wait_for(lambda: (out / "ledger.sqlite").exists())
    time.sleep(1.5)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert (process.returncode, errors) == (143 if once else 0, "")
    assert rows(out) == []


def test_sigterm_does_not_wait_for_who_keeps_the_ledger(start, source, out) -> None:
    process = start("--poll")
    wait_for(lambda: (out / "ledger.sqlite").exists())
    images(source, 1)
    wait_for(lambda: [state for _, state, _ in rows(out)] == ["done"])
    keeper = sqlite3.connect(out / "ledger.sqlite", isolation_level=None, timeout=20)
    keeper.execute("BEGIN IMMEDIATE")
    image(source / "later.tif", 1)
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    keeper.close()
    done = start("--once")
    said, errors = done.communicate(timeout=60)
    assert (done.returncode, said.splitlines()[-1]) == (0, "1 enhanced"), errors


def test_once_ends_with_1_and_a_count_where_files_are_not_done_and_names_what_is_in_quarantine(
    start, source, out
) -> None:
    for line in ("line1", "line2"):
        (source / line).mkdir()
        image(source / line / "a.tif")
    (source / "bad.tif").write_text("no image")
    out.mkdir()
    (out / "line1").write_text("in the way")
    for said_before in ("1 enhanced, 1 failed, 1 not done", "1 not done"):
        process = start("--once", "-r")
        said, errors = process.communicate(timeout=60)
        assert process.returncode == 1, errors
        assert said.splitlines()[-1] == f"{said_before}; 1 in quarantine, which --retry tries again"
        assert errors.splitlines()[-1] == "error: 1 not done; the next start tries again"
    (out / "line1").unlink()
    image(source / "bad.tif")
    process = start("--once", "-r", "--retry")
    said, errors = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-1], errors) == (0, "2 enhanced", "")


def test_options_of_the_service_come_from_a_file_too_and_the_command_line_wins(
    source: Path, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "line.toml").write_text(
        'model = "gaussian"\nout = "enhanced"\nledger = "ledger.sqlite"\nlog = "watch.log"\nsettle = 0\n'
        "once = true\npoll = true\nkeep-copies = true\nretry = true\nreport-images = false\n"
    )
    image(source / "a.tif")
    (source / "bad.tif").write_text("no image")
    command = [sys.executable, "-m", "longexposure", "watch", str(source)]
    command += ["--config", str(tmp_path / "line" / "line.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert sorted(path.name for path in (tmp_path / "line").iterdir()) == [
        *("enhanced", "ledger.sqlite", "line.toml", "watch.log")
    ]
    assert (tmp_path / "line" / "enhanced" / "quarantine" / "bad.tif.copy").read_text() == "no image"
    more = ["--no-retry", "--no-keep-copies", "--log", str(tmp_path / "other.log")]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "nothing to do; 1 in quarantine, which --retry tries again\n"
    assert (tmp_path / "other.log").read_text().endswith(done.stdout)
