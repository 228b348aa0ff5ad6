"""Writing whole or not at all, whatever fails and whenever."""

import errno
import os
from pathlib import Path

import pytest

from longexposure.errors import OutputError
from longexposure.io import check_writable_folder, write_whole
from longexposure.io.writing import failing_as_output_error, refuse_existing, write_together

FAILURES = [
    OSError(errno.ENOSPC, "No space left on device"),
    PermissionError(errno.EACCES, "Permission denied"),
    ValueError("a fault of ours"),
    KeyboardInterrupt(),
    SystemExit(3),
]
every_failure = pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)


def _files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _raised(failure):
    """What a failure arrives as: of the system's, one line with advice; anything else as it is."""
    return OutputError if isinstance(failure, OSError) else type(failure)


@pytest.mark.parametrize(
    "content", [b"all of it", lambda file: file.write(b"all of it")], ids=["bytes", "function"]
)
def test_content_is_written_from_bytes_or_by_a_function(tmp_path, content):
    write_whole(tmp_path / "a.bin", content)
    assert _files(tmp_path) == {"a.bin": b"all of it"}


def test_a_function_may_go_back_and_read_what_it_wrote(tmp_path):
    def content(file):
        file.write(b"....body")
        file.seek(0)
        assert file.read(4) == b"...."
        file.seek(0)
        file.write(b"head")

    write_whole(tmp_path / "a.bin", content)
    assert _files(tmp_path) == {"a.bin": b"headbody"}


def test_while_writing_the_name_is_not_there_and_the_old_file_is(tmp_path):
    path = tmp_path / "a.bin"

    def content(file):
        seen.append(path.read_bytes() if path.exists() else None)
        hidden = [other.name for other in tmp_path.iterdir() if other != path]
        assert len(hidden) == 1
        assert hidden[0].startswith(".")
        file.write(b"new")

    seen: list[bytes | None] = []
    write_whole(path, content)
    path.write_bytes(b"old")
    write_whole(path, content, overwrite=True)
    assert seen == [None, b"old"]
    assert _files(tmp_path) == {"a.bin": b"new"}


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda number: order.append(("sync", os.fstat(number).st_size)))
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (order.append(("name", to.name)), replace(self, to))
    )
    write_whole(tmp_path / "a.bin", b"12345")
    assert order == [("sync", 5), ("name", "a.bin")]


def test_a_file_that_exists_is_refused_before_anything_is_done(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"a\.bin: expected .* found an existing file; .*overwriting"):
        write_whole(tmp_path / "a.bin", lambda file: pytest.fail("called"))
    assert _files(tmp_path) == {"a.bin": b"mine"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_that_name_is_refused(tmp_path, overwrite):
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match=r"a folder of that name; choose another name$"):
        write_whole(tmp_path / "a", b"x", overwrite=overwrite)
    assert _files(tmp_path) == {}


def test_a_link_that_leads_nowhere_counts_as_a_file(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="existing file"):
        refuse_existing(tmp_path / "a", overwrite=False)
    refuse_existing(tmp_path / "a", overwrite=True)


def test_a_file_that_appears_while_writing_is_kept(tmp_path):
    def content(file):
        file.write(b"ours")
        (tmp_path / "a.bin").write_bytes(b"theirs")

    with pytest.raises(OutputError, match="existing file"):
        write_whole(tmp_path / "a.bin", content)
    assert _files(tmp_path) == {"a.bin": b"theirs"}


def test_missing_folders_are_made_on_request_only(tmp_path):
    path = tmp_path / "deep" / "er" / "a.bin"
    with pytest.raises(OutputError, match="check that the folder exists"):
        write_whole(path, b"x")
    assert list(tmp_path.iterdir()) == []
    write_whole(path, b"x", parents=True)
    assert path.read_bytes() == b"x"


def test_a_file_where_a_folder_should_be_is_told(tmp_path):
    (tmp_path / "a").write_bytes(b"mine")
    for parents in (False, True):
        with pytest.raises(OutputError, match="folder"):
            write_whole(tmp_path / "a" / "b.bin", b"x", parents=parents)
    assert _files(tmp_path) == {"a": b"mine"}


@every_failure
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("moment", ["content", "fsync", "replace"])
def test_any_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failure, overwrite, moment):
    def fail(*_: object) -> None:
        raise failure

    path, other = tmp_path / "a.bin", tmp_path / "other"
    other.write_bytes(b"of someone else")
    if overwrite:
        path.write_bytes(b"old")
    before = _files(tmp_path)
    if moment != "content":
        monkeypatch.setattr(os if moment == "fsync" else Path, moment, fail)

    def content(file):
        file.write(b"half")
        if moment == "content":
            fail()

    with pytest.raises(_raised(failure)) as caught:
        write_whole(path, content, overwrite=overwrite)
    if isinstance(failure, OSError):
        assert str(path) in str(caught.value)
        assert failure.strerror in str(caught.value)
        assert "\n" not in str(caught.value)
    assert _files(tmp_path) == before


@every_failure
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("moment", ["content", "replace"])
def test_of_files_that_belong_together_none_is_left_after_a_failure(
    tmp_path, monkeypatch, failure, number, moment
):
    paths = [tmp_path / "a.bin", tmp_path / "b.bin"]
    replace = Path.replace

    def replacing(self, to):
        if moment == "replace" and to == paths[number]:
            raise failure
        return replace(self, to)

    def content(path, file):
        file.write(b"x")
        if moment == "content" and path == paths[number]:
            raise failure

    monkeypatch.setattr(Path, "replace", replacing)
    with pytest.raises(_raised(failure)) as caught:
        write_together({path: lambda file, path=path: content(path, file) for path in paths})
    assert _files(tmp_path) == {}
    if isinstance(failure, OSError):
        assert caught.value.where == str(paths[number])


def test_of_files_that_belong_together_one_that_exists_hinders_all(tmp_path):
    (tmp_path / "b").write_bytes(b"mine")
    with pytest.raises(OutputError, match="existing file"):
        write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert _files(tmp_path) == {"b": b"mine"}
    write_together({tmp_path / "a": b"1", tmp_path / "b": b"2"}, overwrite=True)
    assert _files(tmp_path) == {"a": b"1", "b": b"2"}


def test_an_error_of_ours_keeps_its_own_words(tmp_path):
    own = OutputError(where="PNG", expected="one page", found="two", advice="choose .tif")

    def content(file):
        raise own

    with pytest.raises(OutputError) as caught:
        write_whole(tmp_path / "a", content)
    assert caught.value is own


def test_only_what_the_system_says_becomes_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="disk quota"), failing_as_output_error(tmp_path / "a"):
        raise OSError(errno.EDQUOT, "disk quota")
    with pytest.raises(ValueError, match="x"), failing_as_output_error(tmp_path / "a"):
        raise ValueError("x")


def test_a_full_disk_is_told_in_one_line(tmp_path):
    resource = pytest.importorskip("resource", reason="no limit on file size to fill a disk with")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="free space"):
            write_whole(tmp_path / "a.bin", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_proving_a_folder_leaves_what_is_in_it(tmp_path):
    (tmp_path / "a").write_bytes(b"mine")
    assert check_writable_folder(tmp_path) == tmp_path
    assert _files(tmp_path) == {"a": b"mine"}
