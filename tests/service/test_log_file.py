"""A log goes on in the file that has its name, whatever others do with it."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from longexposure.errors import OutputError
from longexposure.service import log_file
from longexposure.service.log_file import LogFile


class Log:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.troubles: list[str] = []
        self.handler = LogFile(path, on_trouble=self.troubles.append)

    def say(self, text: str) -> None:
        self.handler.handle(logging.LogRecord("watch", logging.INFO, "", 0, text, (), None))

    def lines(self, path: Path | None = None) -> list[str]:
        return [line.split(" ", 2)[2] for line in (path or self.path).read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    (tmp_path / "logs").mkdir()
    log = Log(tmp_path / "logs" / "watch.log")
    log.say("first")
    yield log
    log.handler.close()


def test_it_goes_on_when_others_rotate_it(log: Log) -> None:
    moved = log.path.with_name("watch.log.old")
    log.path.rename(moved)
    log.say("second")
    assert (log.lines(moved), log.lines()) == (["first"], ["second"])
    log.path.unlink()
    log.path.write_text("")
    log.say("third")
    assert log.lines() == ["third"]
    with log.path.open("w"):  # as copytruncate does
        pass
    log.say("fourth")
    assert (log.lines(), log.troubles) == (["fourth"], [])


@pytest.mark.parametrize("made_again", [True, False])
def test_it_goes_on_when_its_folder_is_removed(log: Log, made_again: bool) -> None:
    shutil.rmtree(log.path.parent)
    if made_again:
        log.path.parent.mkdir()
    log.say("second")
    assert (log.lines(), log.troubles) == (["second"], [])


def test_where_its_share_is_gone_it_makes_no_folder_and_goes_on_when_it_is_back(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(log.path.parent)
    with monkeypatch.context() as patch:
        patch.setattr(log_file.Place, "is_mounted", lambda place: False)
        for text in ("lost", "lost too"):
            log.say(text)
        assert not log.path.parent.exists()
    log.say("second")
    assert log.lines() == ["second"]
    assert ["cannot be written (No such file" in log.troubles[0], len(log.troubles)] == [True, 2]
    assert log.troubles[1].endswith("the log is written again")


def test_what_cannot_be_written_is_told_once_and_stops_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(log.handler, "flush", full)
        for _ in range(3):
            log.say("full")
    log.say("second")
    assert [text.partition("watch.log: ")[2] for text in log.troubles] == [
        "the log cannot be written (No space left on device); going on without it",
        "the log is written again",
    ]
    assert log.lines()[-1] == "second"


def test_a_folder_in_its_place_stops_nothing(log: Log) -> None:
    log.path.unlink()
    log.path.mkdir()
    log.say("lost")
    log.path.rmdir()
    log.say("second")
    assert (log.lines(), len(log.troubles)) == (["second"], 2)


def test_a_large_one_is_kept_beside_and_grows_on_where_that_cannot_be(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.handler.maxBytes = 100
    log.say("x" * 100)
    assert log.path.with_name("watch.log.1").is_file()

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(log.handler, "rotate", refused)
    for _ in range(3):
        log.say("y" * 100)
    assert log.lines()[-3:] == ["y" * 100] * 3
    assert log.troubles == []


def test_one_that_cannot_be_begun_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected a log that can be written"):
        LogFile(tmp_path / "none" / "watch.log")
