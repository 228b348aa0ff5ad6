"""Arrivals: every file once when it is whole, again when it changes, none while it is written."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hot import wait_for

from longexposure.errors import InputError, OutputError, RecipeError, ResourceError
from longexposure.io import images_in
from longexposure.models.checkpoint import sha256_of
from longexposure.service.arrivals import Arrivals
from longexposure.service.places import Place
from longexposure.service.settling import PIECE_BYTES, Ended, Settling, sha256_unless, stamp_of

SETTLE_S = 0.1


class Taken:
    """What was given on, and what was said."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.sizes: list[int] = []
        self.said: list[str] = []
        self.refused = 0

    def give(self, path: Path, stamp: str) -> None:
        if self.refused:
            self.refused -= 1
            raise OutputError(where="ledger", expected="room", found="none", advice="make some")
        self.files.append(path.name)
        self.sizes.append(int(stamp.split()[0]))


@contextmanager
def looking(source: Path, taken: Taken, *, poll: bool, **more) -> Iterator[Arrivals]:
    if not poll:
        pytest.importorskip("watchfiles")
    known = more.pop("known", {})
    arrivals = Arrivals(
        Place(source),
        known=lambda: dict(known),
        give=taken.give,
        tell=taken.said.append,
        settle_s=SETTLE_S,
        poll=poll,
        **more,
    )
    arrivals.start()
    try:
        yield arrivals
    finally:
        arrivals.end()
        arrivals.join()
        assert arrivals.error is None


both = pytest.mark.parametrize("poll", [True, False], ids=["polled", "told by the system"])


@both
def test_what_is_there_and_what_arrives_is_given_on_once(source: Path, poll: bool) -> None:
    taken = Taken()
    (source / "before.tif").write_bytes(b"1")
    with looking(source, taken, poll=poll):
        wait_for(lambda: taken.files == ["before.tif"])
        (source / "after.tif").write_bytes(b"1")
        for other in (".hidden.tif", "notes.txt", "chip.tif.part"):
            (source / other).write_bytes(b"1")
        wait_for(lambda: len(taken.files) == 2)
        time.sleep(6 * SETTLE_S)
    assert taken.files == ["before.tif", "after.tif"]


@both
def test_a_slow_copy_is_given_on_when_it_is_whole(source: Path, poll: bool) -> None:
    taken = Taken()
    with looking(source, taken, poll=poll), (source / "slow.tif").open("wb", buffering=0) as file:
        for _ in range(20):
            file.write(b"x" * 1000)
            time.sleep(SETTLE_S / 2)
        assert taken.files == []
        wait_for(lambda: taken.files == ["slow.tif"])
    assert taken.sizes == [20000]


@both
def test_a_file_that_is_renamed_into_place_is_given_on(source: Path, poll: bool) -> None:
    taken = Taken()
    with looking(source, taken, poll=poll):
        (source / "chip.tmp").write_bytes(b"whole")
        time.sleep(3 * SETTLE_S)
        (source / "chip.tmp").rename(source / "chip.tif")
        wait_for(lambda: taken.files == ["chip.tif"])


@both
def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_given_on_again(
    source: Path, poll: bool
) -> None:
    taken = Taken()
    (source / "a.tif").write_bytes(b"one")
    with looking(source, taken, poll=poll):
        wait_for(lambda: len(taken.files) == 1)
        facts = (source / "a.tif").stat()
        (source / "new").write_bytes(b"two")
        os.utime(source / "new", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        (source / "new").replace(source / "a.tif")
        wait_for(lambda: len(taken.files) == 2)


@both
def test_what_is_known_as_it_is_stays_where_it_is(source: Path, poll: bool) -> None:
    taken = Taken()
    for name in ("known.tif", "changed.tif"):
        (source / name).write_bytes(b"1")
    known = {str(source / "known.tif"): stamp_of(source / "known.tif"), str(source / "changed.tif"): "1 1 1"}
    with looking(source, taken, poll=poll, known=known):
        wait_for(lambda: taken.files == ["changed.tif"])
        time.sleep(4 * SETTLE_S)
    assert taken.files == ["changed.tif"]


@both
def test_subfolders_count_when_asked_for_and_the_output_folder_never(source: Path, poll: bool) -> None:
    taken = Taken()
    out = source / "out"
    out.mkdir()
    with looking(source, taken, poll=poll, recursive=True, leave_out=(os.path.realpath(out),)):
        time.sleep(4 * SETTLE_S)
        (out / "mine.tif").write_bytes(b"1")
        line = source / "aside" / "line1"
        line.mkdir(parents=True)
        (line / "deep.tif").write_bytes(b"1")
        wait_for(lambda: taken.files == ["deep.tif"])
        time.sleep(4 * SETTLE_S)
    assert taken.files == ["deep.tif"]


@both
def test_a_folder_that_is_removed_is_waited_for(source: Path, poll: bool) -> None:
    taken = Taken()
    (source / "a.tif").write_bytes(b"1")
    with looking(source, taken, poll=poll):
        wait_for(lambda: taken.files == ["a.tif"])
        shutil.rmtree(source)
        wait_for(lambda: any("the folder is gone" in text for text in taken.said))
        source.mkdir()
        (source / "b.tif").write_bytes(b"1")
        wait_for(lambda: taken.files == ["a.tif", "b.tif"])
        (source / "c.tif").write_bytes(b"1")
        wait_for(lambda: taken.files == ["a.tif", "b.tif", "c.tif"])
    assert any("there again" in text for text in taken.said)
    assert sum("is gone" in text for text in taken.said) == 1


@both
def test_what_could_not_be_given_on_is_given_again(source: Path, poll: bool) -> None:
    taken = Taken()
    taken.refused = 2
    (source / "a.tif").write_bytes(b"1")
    with looking(source, taken, poll=poll):
        wait_for(lambda: taken.files == ["a.tif"])
    assert taken.said == ["ledger: expected room, found none; make some; waiting"]


def test_a_mount_point_without_its_share_is_not_the_folder(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = {str(source)}
    real = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounted or real(path))
    place = Place(source)
    assert place.is_there()
    mounted.clear()
    assert not place.is_there()
    mounted.add(str(source))
    assert place.is_there()


def test_files_that_become_whole_together_come_in_order_of_their_last_change(source: Path) -> None:
    settling = Settling(1.0)
    for number, name in enumerate(("view10.tif", "view2.tif", "later.tif")):
        path = source / name
        path.touch()
        os.utime(path, ns=(0, 10**9 * (1 + number // 2)))
        settling.add(path, stamp_of(path), now=0.0)
    assert settling.look(now=0.5) == []
    assert settling.look(now=1.0) == []
    assert [path.name for path, _ in settling.look(now=2.0)] == ["view2.tif", "view10.tif", "later.tif"]


def test_a_file_that_changes_at_every_look_never_settles_and_one_that_goes_is_dropped(source: Path) -> None:
    settling = Settling(1.0)
    growing, going = source / "growing.tif", source / "going.tif"
    for path in (growing, going):
        path.touch()
        settling.add(path, stamp_of(path), now=0.0)
    going.unlink()
    for now in range(1, 9):
        growing.write_bytes(b"x" * now)
        assert settling.look(float(now)) == []
    assert list(settling) == [growing]


def test_once_tells_what_is_still_written(source: Path) -> None:
    taken = Taken()
    (source / "whole.tif").write_bytes(b"1")
    growing = source / "growing.tif"
    growing.touch()
    stop = threading.Event()

    def grow() -> None:
        while not stop.wait(SETTLE_S / 4):
            with growing.open("ab") as file:
                file.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    arrivals = Arrivals(
        Place(source), known=dict, give=taken.give, tell=taken.said.append, settle_s=SETTLE_S, poll=True
    )
    try:
        assert arrivals.once() == [growing]
    finally:
        stop.set()
        writer.join()
    assert taken.files == ["whole.tif"]


def test_no_folder_no_number_and_no_watchfiles_are_refused(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken()

    def made(place: Place, **more) -> Arrivals:
        return Arrivals(place, known=dict, give=taken.give, tell=taken.said.append, **more)

    with pytest.raises(InputError, match="expected a folder to watch, found none"):
        made(Place(source / "none"))
    with pytest.raises(RecipeError, match="settle"):
        made(Place(source), settle_s=-1.0, poll=True)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    monkeypatch.setattr("longexposure.system.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match=r"pip install 'longexposure\[plant\]'"):
        made(Place(source))
    made(Place(source), poll=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("poll", [False, True])
def test_what_is_no_file_is_left_alone_and_names_of_bytes_are_told_once(source: Path, poll: bool) -> None:
    taken = Taken()
    (source / "before.tif").write_bytes(b"1")
    os.mkfifo(source / "pipe.tif")
    with looking(source, taken, poll=poll):
        wait_for(lambda: taken.files == ["before.tif"])
        Path(os.fsdecode(os.fsencode(source) + b"/latin\xe9.tif")).write_bytes(b"1")
        Path(os.fsdecode(os.fsencode(source) + b"/note\xe9.txt")).write_bytes(b"1")
        wait_for(lambda: any("UTF-8" in text for text in taken.said))
        (source / "after.tif").write_bytes(b"12")
        wait_for(lambda: "after.tif" in taken.files)
    assert set(taken.files) == {"before.tif", "after.tif"}
    (told,) = [text for text in taken.said if "rename" in text]
    assert r"latin\xe9.tif" in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_no_images_of_a_folder(source: Path) -> None:
    (source / "a.tif").write_bytes(b"1")
    (source / "gone.tif").symlink_to(source / "nowhere.tif")
    os.mkfifo(source / "pipe.tif")
    assert [path.name for path in images_in(source)] == ["a.tif", "gone.tif"]


@both
def test_a_folder_whose_name_is_of_other_bytes_is_told_once_whatever_is_in_it(
    source: Path, poll: bool
) -> None:
    taken = Taken()
    strange = Path(os.fsdecode(os.fsencode(source) + b"/d\xe9"))
    strange.mkdir()
    for name in ("a.tif", "b.tif"):
        (strange / name).write_bytes(b"1")
    (source / "good.tif").write_bytes(b"1")
    with looking(source, taken, poll=poll, recursive=True) as arrivals:
        wait_for(lambda: taken.files == ["good.tif"])
        time.sleep(3 * SETTLE_S)
        assert arrivals.left_out == {strange}
    assert [text for text in taken.said if "rename" in text] == [
        f"{source}/d\\xe9: its name is not UTF-8; rename it, until then it is left out"
    ]


class Forbidden:
    """Folders that cannot be listed, and files that cannot be looked at, also where root runs the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unlisted: set[str] = set()
        self.unseen: set[str] = set()
        scandir, stat = os.scandir, Path.stat

        def listed(path: str) -> object:
            self._refuse(str(path), self.unlisted)
            return scandir(path)

        def seen(path: Path, **more: bool) -> os.stat_result:
            self._refuse(str(path), self.unseen)
            return stat(path, **more)

        monkeypatch.setattr(os, "scandir", listed)
        monkeypatch.setattr(Path, "stat", seen)

    def _refuse(self, path: str, paths: set[str]) -> None:
        if path in paths:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def test_subfolders_that_cannot_be_listed_are_told_once_and_taken_when_they_can(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, forbidden = Taken(), Forbidden(monkeypatch)
    for line in ("line1", "line2", "line3"):
        (source / line).mkdir()
        (source / line / f"{line}.tif").write_bytes(b"1")
    forbidden.unlisted = {str(source / "line1")}
    forbidden.unseen = {str(source / "line3" / "line3.tif")}
    with looking(source, taken, poll=True, recursive=True) as arrivals:
        wait_for(lambda: taken.files == ["line2.tif"])
        time.sleep(5 * SETTLE_S)
        assert arrivals.left_out == {source / "line1", source / "line3"}
        assert [text.partition(": ")[2] for text in taken.said] == [
            "this folder cannot be listed (Permission denied); correct its permissions, until then what is "
            "in it is left out"
        ] * 2
        forbidden.unlisted, forbidden.unseen = set(), set()
        wait_for(lambda: sorted(taken.files) == ["line1.tif", "line2.tif", "line3.tif"])
        wait_for(lambda: arrivals.left_out == set())
        forbidden.unlisted = {str(source / "line2")}
        wait_for(lambda: len(taken.said) == 3)


@pytest.mark.parametrize("settle_s", [3600.0, 0.0])
def test_who_looks_once_ends_when_told_to(source: Path, settle_s: float) -> None:
    def give(path: Path, stamp: str) -> None:
        sha256_unless(arrivals.is_over, path)

    with (source / "huge.tif").open("wb") as file:
        file.truncate(1 << 43)  # hours of hashing
    stop = threading.Event()
    arrivals = Arrivals(
        Place(source),
        known=dict,
        give=give,
        tell=lambda text: None,
        settle_s=settle_s,
        poll=True,
        stopped=stop.is_set,
    )
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Ended):
        arrivals.once()
    assert 0.2 < time.monotonic() - began < 10


def test_hashing_in_pieces_gives_the_hash_of_the_whole(source: Path) -> None:
    for size in (0, 1, PIECE_BYTES, 2 * PIECE_BYTES + 1):
        (source / "a.tif").write_bytes(os.urandom(size))
        assert sha256_unless(lambda: False, source / "a.tif") == sha256_of(source / "a.tif")
    with pytest.raises(Ended):
        sha256_unless(lambda: True, source / "a.tif")
