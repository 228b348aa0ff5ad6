"""`longexposure serve`: what it says, its token, and that a killed one goes on."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hot import wait_for
from served import tiff
from typer.testing import CliRunner

from longexposure.cli.app import app
from longexposure.cli.service import TOKEN


@contextmanager
def command(data: Path, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command as a process, and its port."""
    arguments = ["-m", "longexposure", "serve", "--data", str(data), "--port", "0", "--model", "gaussian"]
    process = subprocess.Popen(
        [sys.executable, *arguments, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"serving http://127\.0\.0\.1:(\d+)/ with what is kept in ", line)
        assert found is not None, (line, process.stderr.read() if process.stderr else "")
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content.startswith(b"{") else content
    finally:
        connection.close()


def states(port: int) -> list[str]:
    return [job["state"] for job in ask(port, "GET", "/jobs")[1]["jobs"]]


def test_a_killed_server_goes_on_with_what_it_took(tmp_path: Path) -> None:
    data, count = tmp_path / "data", 12
    with command(data) as (process, port):
        for seed in range(count):
            assert ask(port, "POST", f"/jobs?name={seed}.tif", tiff(seed, (256, 256)))[0] == 202
        process.send_signal(signal.SIGKILL)
        process.wait()
    with command(data) as (process, port):
        wait_for(lambda: states(port) == ["done"] * count)
        names = {job["name"] for job in ask(port, "GET", "/jobs")[1]["jobs"]}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert names == {f"{seed}.tif" for seed in range(count)}
    assert len(list((data / "enhanced").glob("*.tif"))) == count


def test_it_says_what_it_does_by_the_client_s_name_and_ends_with_a_count(tmp_path: Path) -> None:
    with command(tmp_path / "data") as (process, port):
        assert ask(port, "POST", "/enhance?name=u7.tif", tiff())[0] == 200
        assert ask(port, "POST", "/enhance?name=u8.tif", b"II*\0no image")[0] == 422
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.search(r"^[0-9a-f]{16} \(u7\.tif\): enhanced in [\d.]+ s", out, re.MULTILINE)
    assert out.splitlines()[-1] == "1 enhanced"
    assert error == ""


@pytest.mark.parametrize("by_file", [True, False])
def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path, by_file: bool) -> None:
    token = "sixteen-letters-and-more"
    (tmp_path / "token").write_text(token + "\n")
    given = ["--token-file", str(tmp_path / "token")] if by_file else []
    with command(tmp_path / "data", *given, **({} if by_file else {TOKEN: token})) as (_, port):
        assert ask(port, "GET", "/jobs")[0] == 401
        assert ask(port, "GET", "/jobs", Authorization=f"Bearer {token}")[0] == 200


@pytest.mark.parametrize(
    ("content", "found"), [(b"short", "5 letters"), (b"with spaces in between", "other")]
)
def test_a_token_that_is_none_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "token").write_bytes(content)
    options = ["--data", str(tmp_path / "data"), "--token-file", str(tmp_path / "token")]
    result = CliRunner().invoke(app, ["serve", *options])
    assert result.exit_code == 3
    assert found in result.stderr
    assert not (tmp_path / "data").exists()


def test_other_hosts_are_served_with_a_token_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    result = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "data"), "--host", "0.0.0.0"])
    assert result.exit_code == 5
    assert "--token-file" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longexposure.system.find_spec", lambda name: None if name == "uvicorn" else object())
    result = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "data")])
    assert result.exit_code == 7
    assert "longexposure[serve]" in result.stderr
