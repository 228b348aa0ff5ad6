"""The server from without: images in, enhanced images out, jobs, reports, measures."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from hot import wait_for
from quick import noisy
from served import form, serving, tiff

from longexposure.enhance.enhancer import load_enhancer
from longexposure.enhance.files import enhance_files
from longexposure.io import read_radiograph, write_radiograph
from longexposure.radiograph import Radiograph


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_an_image_comes_back_with_the_bytes_that_the_command_writes(data: Path, tmp_path: Path) -> None:
    source = tmp_path / "chip.tif"
    source.write_bytes(tiff())
    list(enhance_files([source], tmp_path / "by-command", load_enhancer("gaussian")))
    expected = (tmp_path / "by-command" / "chip.tif").read_bytes()
    body, headers = form(source.read_bytes())
    with serving(data) as server:
        raw = server.post("/enhance?name=chip.tif", source.read_bytes())
        sent = server.post("/enhance", body, **headers)
        begun = server.post("/jobs?name=chip.tif", source.read_bytes())
        wait_for(lambda: server.get(begun.headers["Location"]).json["state"] == "done")
        fetched = server.get(f"{begun.headers['Location']}/result")
    assert [answer.status for answer in (raw, sent, begun, fetched)] == [200, 200, 202, 200]
    assert raw.body == sent.body == fetched.body == expected
    assert raw.headers["Content-Type"] == "image/tiff"
    assert 'filename="chip.tif"' in raw.headers["Content-Disposition"]


def test_a_job_tells_what_was_found_and_a_list_the_newest_first(data: Path) -> None:
    with serving(data) as server:
        for seed, name in enumerate(("first.tif", "second.tif")):
            assert server.post(f"/enhance?name={name}", tiff(seed)).status == 200
        listed = server.get("/jobs").json
        assert [job["name"] for job in listed["jobs"]] == ["second.tif", "first.tif"]
        job = server.get(listed["jobs"][1]["links"]["self"]).json
        older = server.get("/jobs?limit=1").json
        assert server.get(f"/jobs?limit=1&before={older['before']}").json["jobs"][0]["id"] == job["id"]
    found = job["found"]
    assert (job["state"], found["shape"], found["dtype"]) == ("done", [64, 64], "uint16")
    assert found["history"][-1]["action"] == "enhance"
    assert found["noise_sigma"] > 0
    assert str(data) not in str(job)


def test_formats_keep_their_own(data: Path, tmp_path: Path) -> None:
    write_radiograph(Radiograph(noisy(0, (64, 64))), tmp_path / "chip.png")
    content = (tmp_path / "chip.png").read_bytes()
    with serving(data) as server:
        named = server.post("/enhance?name=chip.png", content)
        unnamed = server.post("/enhance", content)
    assert named.headers["Content-Type"] == unnamed.headers["Content-Type"] == "image/png"
    for number, answer in enumerate((named, unnamed)):
        (tmp_path / f"{number}.png").write_bytes(answer.body)
    first, second = (read_radiograph(tmp_path / f"{number}.png") for number in range(2))
    assert np.array_equal(first.pixels, second.pixels)


def test_the_report_shows_the_client_s_name_and_loads_tiles_from_beside_it(data: Path) -> None:
    with serving(data) as server:
        job = server.post("/enhance?name=<b>u7.tif", tiff()).headers["X-Job"]
        page = server.get(f"/jobs/{job}/report")
        text = page.body.decode()
        tile = re.search(r"(?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f])", text)
        assert tile is not None
        loaded = server.get(f"/jobs/{job}/report_files/{tile[0]}.js")
        missing = server.get(f"/jobs/{job}/report_files/{'0' * 24}.js")
    assert (page.status, loaded.status, missing.status) == (200, 200, 404)
    assert "&lt;b&gt;u7.tif" in text
    assert "<b>u7" not in text
    assert loaded.headers["Content-Type"].startswith("text/javascript")
    assert str(data) not in text


def test_models_limits_health_readiness_and_measures_are_told(data: Path) -> None:
    with serving(data, queue=7) as server:
        server.post("/enhance?name=chip.tif", tiff())
        server.post("/enhance", b"no image")
        assert server.get("/health").json["status"] == "alive"
        assert server.get("/ready").json == {"ready": True}
        models = server.get("/models").json
        assert models["serving"]["model"] == "gaussian"
        assert {"fast", "nlm"} <= {model["name"] for model in models["models"]}
        assert server.get("/limits").json["queue"] == 7
        measures = server.get("/metrics").body.decode()
    told = dict(line.rsplit(" ", 1) for line in measures.splitlines() if not line.startswith("#"))
    assert float(told['longexposure_images_total{outcome="enhanced"}']) == 1
    assert float(told['longexposure_refused_requests_total{status="422"}']) == 1
    assert float(told["longexposure_enhance_seconds_count"]) == 1
    assert float(told["longexposure_noise_grey_values_sum"]) > 0
    assert float(told["longexposure_queue_images"]) == 0
    assert float(told["longexposure_ready"]) == 1


def test_the_interface_describes_itself_and_no_page_loads_scripts_from_elsewhere(data: Path) -> None:
    with serving(data) as server:
        described = server.get("/openapi.json").json
        assert server.get("/docs").status == server.get("/redoc").status == 404
        parts = [server.get(path).body.decode() for path in ("/", "/assets/page.js", "/assets/page.css")]
        policy = server.get("/").headers["Content-Security-Policy"]
    wanted = {"/enhance", "/jobs", "/jobs/{job}", "/jobs/{job}/result", "/jobs/{job}/report", "/models"}
    assert wanted | {"/health", "/ready", "/metrics"} <= set(described["paths"])
    assert not any(re.search(r"https?://(?!www\.w3\.org)", part) for part in parts)
    assert "default-src 'none'" in policy


def test_a_deleted_job_is_gone_with_its_files(data: Path) -> None:
    with serving(data) as server:
        job = server.post("/enhance?name=chip.tif", tiff()).headers["X-Job"]
        server.get(f"/jobs/{job}/report")
        assert server.ask("DELETE", f"/jobs/{job}").status == 204
        assert server.get(f"/jobs/{job}").status == 404
        assert server.ask("DELETE", f"/jobs/{job}").status == 404
        assert server.get("/jobs").json["jobs"] == []
    left = [path for path in data.rglob("*") if job in str(path)]
    assert left == []


def test_what_ended_long_enough_ago_is_deleted(data: Path) -> None:
    with serving(data, keep_s=1.0) as server:
        server.post("/enhance?name=chip.tif", tiff())
        wait_for(lambda: server.get("/jobs").json["jobs"] == [])
    assert list((data / "originals").iterdir()) == []


def test_a_request_that_waits_long_enough_is_told_the_job(data: Path) -> None:
    with serving(data) as server:
        answer = server.post("/enhance?name=chip.tif&wait=0", tiff())
        assert answer.status in (200, 202)
        if answer.status == 202:
            assert answer.headers["Location"] == f"/jobs/{answer.json['id']}"
        wait_for(lambda: server.get(f"/jobs/{answer.headers['X-Job']}").json["state"] == "done")


def test_originals_of_a_ledger_that_is_gone_or_of_another_version_are_entered_again(data: Path) -> None:
    with serving(data) as server:
        job = server.post("/enhance?name=chip.tif", tiff()).headers["X-Job"]
        before = server.get(f"/jobs/{job}/result").body
    connection = sqlite3.connect(data / "ledger.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with serving(data) as server:
        wait_for(lambda: server.get(f"/jobs/{job}").json.get("state") == "done")
        assert server.get(f"/jobs/{job}/result").body == before
        assert server.get(f"/jobs/{job}").json["name"] == "chip.tif"
        assert any("of version 99" in event.text for event in server.events)
        assert not any(event.kind == "enhanced" for event in server.events)  # it was found


def test_two_servers_share_one_data_folder_and_each_image_is_enhanced_once(data: Path) -> None:
    with serving(data) as one, serving(data) as other:
        begun = [
            server.post("/jobs?name=chip.tif", tiff(seed)) for seed in range(4) for server in (one, other)
        ]
        ids = [answer.json["id"] for answer in begun]
        for server in (other, one):
            wait_for(
                lambda server=server: all(server.get(f"/jobs/{job}").json["state"] == "done" for job in ids)
            )
        sync = other.post("/enhance?name=chip.tif", tiff(9))
        assert sync.status == 200
        results = {server.get(f"/jobs/{ids[0]}/result").body for server in (one, other)}
    assert len(results) == 1
    events = [*one.events, *other.events]
    assert sum(event.kind == "enhanced" for event in events) == 9


def test_originals_stay_as_they_came(data: Path) -> None:
    content = tiff()
    with serving(data) as server:
        job = server.post("/enhance?name=chip.tif", content).headers["X-Job"]
        assert server.get(f"/jobs/{job}/original").body == content
    enhanced = read_radiograph(next((data / "enhanced").glob("*.tif"))).pixels
    expected = load_enhancer("gaussian").enhance(read_radiograph(data / "originals" / f"{job}.tif")).pixels
    assert np.array_equal(enhanced, expected)
    assert os.stat(data / "originals").st_mode & 0o077 == 0  # noqa: PTH116


def test_the_kept_time_counts_from_the_end(data: Path) -> None:
    with serving(data, keep_s=3600.0) as server:
        server.post("/enhance?name=chip.tif", tiff())
        time.sleep(0.5)
        assert len(server.get("/jobs").json["jobs"]) == 1


def test_a_file_that_was_written_and_not_entered_is_made_again_where_settings_have_changed(
    data: Path,
) -> None:
    with serving(data) as server:
        job = server.post("/enhance?name=chip.tif", tiff()).headers["X-Job"]
        first = server.get(f"/jobs/{job}/result").body
    for part in data.glob("ledger.sqlite*"):
        part.unlink()
    with serving(data, strength=0.5) as server:
        wait_for(lambda: server.get(f"/jobs/{job}").json.get("state") == "done")
        again = server.get(f"/jobs/{job}/result").body
        assert server.get(f"/jobs/{job}").json["found"]["history"][-1]["strength"] == 0.5
    assert again != first
