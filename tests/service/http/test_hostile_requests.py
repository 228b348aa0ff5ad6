"""What a server refuses: each says what is wrong, keeps nothing, and the next is served."""

from __future__ import annotations

import io
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import tifffile
from hot import wait_for
from quick import noisy
from served import FORM, GAUSSIAN, Server, form, serving, tiff

from longexposure.errors import InputError, OutputError, RecipeError
from longexposure.service.http import serving as module
from longexposure.service.http.limits import Serving
from longexposure.service.http.serving import serve
from longexposure.service.http.store import Store

CLAIMS = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", 50_000, 50_000, 16, 0, 0, 0, 0, 0)
"""A PNG of no pixels whose header promises many."""

TOKEN = "a-token-of-sixteen-letters"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(data: Path) -> Iterator[Server]:
    with serving(data, most_bytes=200_000, most_pixels=100_000, silent_s=0.5, queue=2) as running:
        yield running


def kept(data: Path) -> list[str]:
    """Files of images, whole or not."""
    return sorted(path.name for name in ("originals", "about") for path in (data / name).iterdir())


def serves(server: Server) -> bool:
    return server.post("/enhance?name=next.tif", tiff()).status == 200


@contextmanager
def half_sent(server: Server, length: int = 10_000, *, headers: str = "") -> Iterator[socket.socket]:
    """A request whose body is announced and does not come."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        head = f"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n{headers}\r\n"
        connection.sendall(head.encode() + bytes(100))
        yield connection


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(4096).split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("content", "status", "found"),
    [
        (b"", 400, "an empty body"),
        (b"no image at all", 422, "a text file"),
        (tiff()[:6], 422, "cut off"),
        (CLAIMS, 413, "2500000000"),
        (bytes(250_000), 413, "250000 bytes"),
    ],
    ids=["empty", "text", "half", "claims", "long"],
)
def test_what_is_no_image_that_is_taken_is_refused_in_one_line(
    server: Server, data: Path, content: bytes, status: int, found: str
) -> None:
    for path in ("/enhance", "/jobs"):
        answer = server.post(f"{path}?name=u7.tif", content)
        assert answer.status == status
        assert found in answer.json["error"]
        assert "\n" not in answer.json["error"]
        assert str(data) not in answer.body.decode()
    assert kept(data) == []
    assert serves(server)


def half_a_file() -> bytes:
    return tiff()[:3000]


def damaged_pixels() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, noisy(0, (64, 64)), compression="zlib")
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tif:
        at = tif.pages[0].dataoffsets[0]
    content = bytearray(file.getvalue())
    content[at + 20 : at + 400] = bytes(380)
    return bytes(content)


@pytest.mark.parametrize("content", [half_a_file(), damaged_pixels()], ids=["half", "damaged"])
def test_a_file_with_damage_behind_its_head_fails_as_a_job_that_says_why(
    server: Server, data: Path, content: bytes
) -> None:
    answer = server.post("/enhance?name=u7.tif", content)
    assert answer.status == 422
    assert "u7.tif: expected" in answer.json["error"]
    job = server.get(f"/jobs/{answer.json['job']}").json
    assert (job["state"], job["error"]) == ("failed", answer.json["error"])
    assert str(data) not in str(job)
    assert server.get(f"/jobs/{job['id']}/result").status == 409
    assert server.ask("DELETE", f"/jobs/{job['id']}").status == 204
    assert kept(data) == []
    assert serves(server)


def test_ten_gigabytes_are_refused_before_they_are_sent(server: Server, data: Path) -> None:
    with half_sent(server, 10_000_000_000, headers="Expect: 100-continue\r\n") as connection:
        assert status_of(connection) == 413
    assert kept(data) == []


def test_an_upload_without_a_length_is_counted_while_it_comes(server: Server, data: Path) -> None:
    pieces = (bytes(50_000) for _ in range(10))
    answer = server.post("/jobs", pieces)  # which http.client sends in chunks
    assert answer.status == 413
    wait_for(lambda: kept(data) == [])


def test_an_upload_that_stalls_is_ended_and_gives_its_place_back(server: Server, data: Path) -> None:
    with half_sent(server) as one, half_sent(server) as other:
        assert {status_of(connection) for connection in (one, other)} == {408}
    wait_for(lambda: kept(data) == [])
    assert serves(server)


def test_an_upload_that_is_broken_off_leaves_nothing(server: Server, data: Path) -> None:
    with half_sent(server):
        pass
    wait_for(lambda: kept(data) == [])
    assert serves(server)


def test_who_finds_no_place_is_told_when_to_come_again_and_is_served_then(data: Path) -> None:
    with serving(data, queue=1, silent_s=30.0) as server:
        with half_sent(server):
            wait_for(lambda: b"longexposure_uploads 1.0" in server.get("/metrics").body)
            answers = [server.post("/jobs?name=u7.tif", tiff()) for _ in range(3)]
        assert [answer.status for answer in answers] == [429] * 3
        waits = [int(answer.headers["Retry-After"]) for answer in answers]
        assert waits == sorted(waits)
        assert waits[0] < waits[-1]  # each is given another time
        assert "Retry-After" in answers[0].json["advice"]
        wait_for(lambda: server.post("/enhance?name=u7.tif", tiff()).status == 200)


def test_many_at_once_are_all_served_in_the_end(data: Path) -> None:
    with serving(data, queue=3) as server:
        ended: list[int] = []
        turned_away: list[int] = []

        def client(seed: int) -> None:
            while True:
                answer = server.post(f"/enhance?name={seed}.tif", tiff(seed))
                if answer.status != 429:
                    ended.append(answer.status)
                    return
                turned_away.append(answer.status)
                time.sleep(0.2)

        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert ended == [200] * 12
        assert turned_away
        assert len(server.get("/jobs").json["jobs"]) == 12


@pytest.mark.parametrize(
    ("body", "content_type", "found"),
    [
        (b"whatever", "multipart/form-data", "without multipart/form-data and a boundary"),
        (b"whatever", f"multipart/form-data; boundary={FORM}", "a damaged form"),
        (form(tiff())[0][:-40], f"multipart/form-data; boundary={FORM}", "cut off"),
        (
            f'--{FORM}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--{FORM}--\r\n'.encode(),
            f"multipart/form-data; boundary={FORM}",
            "a form without a file",
        ),
        (form(b"")[0], f"multipart/form-data; boundary={FORM}", "an empty file"),
    ],
    ids=["no boundary", "damaged", "cut off", "no file", "empty file"],
)
def test_damaged_forms_are_refused(
    server: Server, data: Path, body: bytes, content_type: str, found: str
) -> None:
    answer = server.post("/jobs", body, Content_Type=content_type)
    assert answer.status == 400
    assert found in answer.json["error"]
    assert kept(data) == []


def test_other_fields_of_a_form_are_passed_over(server: Server) -> None:
    before = f'--{FORM}\r\nContent-Disposition: form-data; name="note"\r\n\r\nsome text\r\n'
    body, headers = form(tiff(), before=before)
    assert server.post("/enhance", body, **headers).status == 200


@pytest.mark.parametrize(
    "name", ["../../../etc/x.tif", "..", "/etc/passwd", "C:\\a\\b.tif", "a\0b.tif", "\u202ex.tif", "x" * 900]
)
def test_no_name_of_a_client_reaches_the_file_system(data: Path, tmp_path: Path, name: str) -> None:
    with serving(data) as server:
        answer = server.post(f"/enhance?name={quote(name)}", tiff())
        assert answer.status == 200
        told = server.get(f"/jobs/{answer.headers['X-Job']}").json["name"]
        server.get(f"/jobs/{answer.headers['X-Job']}/report")
    assert "/" not in told
    assert "\\a" not in told
    assert told.isprintable()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    job = answer.headers["X-Job"]
    parts = {path.name for path in data.rglob("*") if path.is_file() and "report_files" not in path.parts}
    expected = {f"{job}.tif", f"{job}.json", f"{job}.result.json", "report.html", "ledger.sqlite"}
    assert {part for part in parts if not part.startswith("ledger.sqlite-")} == expected


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/..%2f..%2fetc%2fpasswd",
        "/jobs/../../etc/passwd",
        "/jobs/0123456789abcdef",
        "/jobs/0123456789abcdef/result",
        "/jobs/0123456789abcdef/report",
        "/jobs/0123456789abcdef/report_files/..%2f..%2f..%2fledger.sqlite",
        "/assets/..%2fdesk.py",
        "/nothing",
    ],
)
def test_addresses_that_lead_nowhere_say_so(server: Server, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 404
    assert answer.json["error"]


def test_wrong_questions_are_told(server: Server) -> None:
    assert server.get("/jobs?limit=100000").status == 422
    assert server.post("/enhance?wait=-1", tiff()).status == 422
    assert server.ask("PUT", "/jobs").status == 405


def test_only_who_has_the_token_is_answered(data: Path) -> None:
    with serving(data, token=TOKEN) as server:
        for given in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": TOKEN},
            {"Cookie": "longexposure=x"},
        ):
            answer = server.get("/jobs", **given)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert TOKEN not in answer.body.decode()
            assert server.post("/enhance", tiff(), **given).status == 401
            assert server.get("/metrics", **given).status == 401
            assert server.get("/openapi.json", **given).status == 401
        assert (
            server.get("/").status
            == server.get("/health").status
            == server.get("/assets/page.js").status
            == 200
        )
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert server.post("/enhance", tiff(), **right).status == 200
        assert server.post("/session", Authorization="Bearer wrong").status == 401
        cookie = server.post("/session", **right).headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        assert TOKEN not in cookie
        assert server.get("/jobs", Cookie=cookie.split(";")[0]).status == 200
    assert kept(data)
    assert not any(TOKEN.encode() in path.read_bytes() for path in data.rglob("*") if path.is_file())


def test_pages_of_other_sites_cannot_ask(server: Server) -> None:
    assert server.get("/jobs", Host="evil.example").status == 403
    assert server.get("/jobs", Host=f"localhost:{server.port}").status == 200
    answer = server.post("/enhance", tiff(), Origin="https://evil.example")
    assert answer.status == 403
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert server.post("/enhance", tiff(), Origin=f"http://127.0.0.1:{server.port}").status == 200
    assert "Access-Control-Allow-Origin" not in server.get("/jobs", Origin="https://evil.example").headers


def test_a_connection_that_never_asks_is_closed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.3)
    with serving(data) as server, socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(b"GET /health HT")
        assert connection.recv(100) == b""


def test_an_address_that_others_reach_needs_a_token(data: Path) -> None:
    with pytest.raises(RecipeError, match="a token for an address"):
        serve(Serving(data, host="0.0.0.0"), GAUSSIAN, tell=lambda event: None, stopped=lambda: True)
    assert not data.exists()


def test_a_port_that_is_taken_is_told(data: Path) -> None:
    with serving(data) as server, pytest.raises(OutputError, match="in use"):
        serve(
            Serving(data.with_name("other"), port=server.port),
            GAUSSIAN,
            tell=lambda event: None,
            stopped=lambda: False,
        )


def test_a_file_that_is_no_ledger_is_told_and_stays(data: Path) -> None:
    data.mkdir()
    (data / "ledger.sqlite").write_text("my notes")
    with pytest.raises(InputError, match="another file"):
        serve(Serving(data, port=0), GAUSSIAN, tell=lambda event: None, stopped=lambda: False)
    assert (data / "ledger.sqlite").read_text() == "my notes"


def test_a_full_disk_is_told_before_an_image_is_taken(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [1000]
    monkeypatch.setattr(Store, "free_bytes", lambda store: free[0])
    with serving(data) as server:
        answer = server.post("/jobs", tiff())
        assert answer.status == 507
        assert "1000 free bytes" in answer.json["error"]
        assert kept(data) == []
        free[0] = 10**12
        assert serves(server)
