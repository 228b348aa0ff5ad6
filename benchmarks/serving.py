"""The server on this host: throughput beside a folder's, and memory when many come at once.

- `throughput`: a folder of 1900 x 1900 files, and the same files sent to a running `longexposure serve` by four
  clients, by turns, the model loaded before; both beside the network's own time for these pixels, and the bytes that
  come back beside those of the folder.
- `crowd`: 50 clients send 16 Mpx each at one time. Who is turned away comes again when `Retry-After` says so. The
  server is killed in between and started again. Peak of resident memory, and what became of each image.

    python benchmarks/serving.py [--short] [--out benchmarks/serving.json]
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from watching import MODULE, measured, network_s, scene

from longexposure import load_enhancer, write_radiograph
from longexposure.enhance.files import enhance_files
from longexposure.radiograph import Radiograph
from longexposure.system import host_facts

CLIENTS = 50
LARGE_PX = 4000


class Server:
    """A running `longexposure serve` and how to ask it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def jobs(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("GET", "/jobs?limit=500")[2])
        return found

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024


@contextmanager
def server(data: Path) -> Iterator[Server]:
    """A server with the default model, as soon as it is ready."""
    command = [*MODULE, "serve", "--data", str(data), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        port = int(re.findall(r":(\d+)/", process.stdout.readline())[0])
        threading.Thread(target=lambda out=process.stdout: [None for _ in out], daemon=True).start()
        running = Server(process, port)
        try:
            while running.ask("GET", "/ready")[0] != 200:
                time.sleep(0.1)
            yield running
        finally:
            process.terminate()
            process.wait()


def throughput(work: Path, *, side: int, files: int, runs: int) -> dict[str, Any]:
    """Files of a folder and through the server, by turns."""
    source, pixels = work / "in", scene(side)
    source.mkdir()
    for number in range(files):
        write_radiograph(Radiograph(np.roll(pixels, number, axis=0)), source / f"{number}.tif")
    paths = sorted(source.iterdir())
    enhancer = load_enhancer()
    own = network_s(enhancer, pixels) * files
    seconds: dict[str, list[float]] = {"folder": [], "serve": []}
    equal = True
    for run in range(runs):
        out = work / f"out{run}"
        began = time.perf_counter()
        assert all(result.error is None for result in enhance_files([source], out, enhancer))
        seconds["folder"].append(time.perf_counter() - began)
        with server(work / f"data{run}") as running, ThreadPoolExecutor(4) as clients:
            began = time.perf_counter()
            sent = [
                clients.submit(running.ask, "POST", f"/enhance?name={path.name}", path.read_bytes())
                for path in paths
            ]
            for path, answer in zip(paths, sent, strict=True):
                equal &= answer.result()[2] == (out / path.name).read_bytes()
            seconds["serve"].append(time.perf_counter() - began)
        print(f"folder {seconds['folder'][-1]:.1f} s, serve {seconds['serve'][-1]:.1f} s", flush=True)
    ratios = [one / other for one, other in zip(seconds["folder"], seconds["serve"], strict=True)]
    return {
        "files": files,
        "side_px": side,
        **{f"{name}_s": each for name, each in seconds.items()},
        "network_s": own,
        "folder_to_network": statistics.median(seconds["folder"]) / own,
        "serve_pace_to_folder": statistics.median(ratios),
        "equal_bytes": equal,
    }


def crowd(work: Path, *, side: int, clients: int) -> dict[str, Any]:
    """All at once, a kill in between, and again whoever was turned away."""
    data, path, pixels = work / "data", work / "large.tif", scene(side)
    body = write_radiograph(Radiograph(pixels), path).read_bytes()
    answers: dict[int, tuple[int, int]] = {}

    def send(running: Server, number: int) -> None:
        status, headers, _ = running.ask("POST", f"/jobs?name={number}.tif", body)
        answers[number] = status, int(headers.get("Retry-After") or 0)

    with server(data) as running:
        idle = running.peak_mib()
        threads = [threading.Thread(target=send, args=(running, number)) for number in range(clients)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answered_s = time.perf_counter() - began
        first = Counter(status for status, _ in answers.values())
        while running.jobs()["open"] > clients // 4:
            time.sleep(0.5)
        peak = running.peak_mib()
        running.process.kill()
    with server(data) as running:
        for number in sorted(answers):
            while answers[number][0] == 429:
                time.sleep(min(answers[number][1], 10))
                send(running, number)
        while running.jobs()["open"]:
            time.sleep(0.5)
        jobs = running.jobs()["jobs"]
        peak = max(peak, running.peak_mib())
    return {
        "clients": clients,
        "side_px": side,
        "taken_at_first": first[202],
        "turned_away_at_first": first[429],
        "answered_s": answered_s,
        "idle_mib": idle,
        "peak_mib": peak,
        "states": dict(Counter(job["state"] for job in jobs)),
        "names": len({job["name"] for job in jobs}),
    }


def run(*, short: bool) -> dict[str, Any]:
    side, files, runs = (600, 5, 1) if short else (1900, 30, 2)
    figures = {
        "throughput": lambda work: throughput(work, side=side, files=files, runs=runs),
        "crowd": lambda work: crowd(work, side=1000 if short else LARGE_PX, clients=CLIENTS),
    }
    return {"what": __doc__.split("\n")[0], "host": host_facts(), "short": short, **measured(figures)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--short", action="store_true", help="fewer and smaller files, prints only")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    result = run(short=arguments.short)
    target = arguments.out or (None if arguments.short else Path(__file__).with_suffix(".json"))
    if target is not None:
        target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
