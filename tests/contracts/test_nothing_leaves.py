"""Nothing leaves the host: no command tries a connection, or writes anywhere but where it was told to.

Every command runs as a child with a home, a folder for temporary files and a working folder of its own.
Python's audit hook refuses and records every attempt to look a host up or to reach one, in child processes
too; strace, where it is there, sees what libraries do below Python.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile
import tomli_w
import typer
from quick import DATA, noisy

from longexposure.cli.app import app
from longexposure.models.registry import shipped_weights

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
GUARD = """
import os, sys
REACHES = ("connect", "sendto", "sendmsg", "getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo")
def guard(event, args):
    part = event.partition("socket.")[2]
    if part in REACHES and getattr(args[0], "family", None) != 1:  # 1 is a socket among files
        with open(os.environ["RECORD"], "a") as record:
            record.write(f"{event} {args}\\n")
        raise ConnectionRefusedError(event)
sys.addaudithook(guard)
"""
TINY = {
    "name": "tiny",
    "steps": 2,
    "precision": "f32",
    "workers": 0,
    "network": {"kind": "fast", "width": 8, "blocks": 1, "fine_width": 4, "fine_blocks": 1},
    "data": DATA,
    "validation": {"count": 1, "size_px": 32, "every_steps": 2},
    "optimiser": {"batch": 2, "warmup_steps": 1},
}
STUDY = """
from pathlib import Path
from miniature import TINY, write_types
from longexposure.study.suite import study
study("all", out=Path("out/study"), data=write_types(Path("out/studied")), budget=TINY, seeds=1)
"""
WATCH = """
import threading
from pathlib import Path
from longexposure.enhance.choices import ModelChoice
from longexposure.service.watching import HotFolder, watch
done = threading.Event()
folder = HotFolder(Path("flats"), Path("out/w2"), settle_s=0.01)
tell = lambda event: event.kind == "enhanced" and done.set()
watch(folder, ModelChoice("gaussian"), tell=tell, stopped=done.is_set)
"""
SERVE = r"""
import os, signal, socket, subprocess, sys, threading, time
from pathlib import Path
from longexposure.cli.app import main
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
answers = []
def ask(line, body):  # by bash, since the guard lets Python reach nothing
    head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    reach = "exec 3<>/dev/tcp/127.0.0.1/$0 && cat >&3 && cat <&3"
    done = subprocess.run(["bash", "-c", reach, port], input=head.encode() + body, capture_output=True)
    return done.stdout.split(b"\r\n")[0]
def client():
    while not ask("GET /health", b""):
        time.sleep(0.2)
    answers.append(ask("POST /enhance?name=in.tif", Path("in.tif").read_bytes()))
    answers.extend(ask(f"GET {path}", b"") for path in ("/", "/jobs", "/models", "/metrics", "/openapi.json"))
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=client, daemon=True).start()
sys.argv = ["longexposure", "serve", "--data", "out/served", "--port", port]
try:
    main()
finally:
    assert answers == [b"HTTP/1.1 200 OK"] * 6, answers
"""
LIBRARY = """
import numpy as np
import longexposure
for engine in ("onnx", "openvino", "torch"):
    longexposure.load_enhancer("fast", engine=engine).enhance(np.load("in.npy"))
"""


@dataclass(frozen=True)
class Child:
    """One run: arguments of the command line, or a program, and the exit codes that are right."""

    arguments: tuple[str, ...] = ()
    program: str = ""
    codes: tuple[int, ...] = (0,)
    marks: tuple[pytest.MarkDecorator, ...] = field(default=(pytest.mark.slow,))


def child(line: str, *, quick: bool = False, codes: tuple[int, ...] = (0,)) -> Child:
    return Child(tuple(line.split()), codes=codes, marks=() if quick else (pytest.mark.slow,))


MACHINE = str(TESTS / "quick.toml")
CHILDREN = {
    "enhance-auto": child("enhance in.tif --out out/a --report out/a.html --json out/a.json"),
    "enhance-openvino": child("enhance in.tif --out out/b --engine openvino", quick=True),
    "enhance-onnx": child("enhance in.tif --out out/c --engine onnx", quick=True),
    "enhance-torch": child("enhance in.tif --out out/d --engine torch"),
    "enhance-classical": child("enhance in.tif --out out/e --model nlm"),
    "watch": child("watch flats --out out/w --once --settle 0"),
    "watchfiles": Child(program=WATCH),
    "serve": Child(("serve",), program=SERVE),
    "info": child("info in.tif", quick=True),
    "info-weights": child("info fast.safetensors"),
    "models": child("models"),
    "export-onnx": child("export fast --out out/fast.onnx"),
    "export-openvino": child("export fast --out out/fast.xml --format openvino"),
    "bench": child("bench --size 64 --rounds 1"),
    "check-pairs": child("check-pairs pairs --manifest out/list.csv", codes=(0, 3)),
    "evaluate": child("evaluate --data pairs --data-range 65535 --model fast --out out/scores.json"),
    "assess": child(
        f"assess --machine {MACHINE} --model gaussian --defect particle --cases 8 --out out/assessed"
    ),
    "train": child("train tiny.toml --out out/run --tensorboard"),
    "train-devices": child("train tiny.toml --out out/runs --devices 2 --set workers=1"),
    "adapt": child(
        "adapt pairs/LQ --out out/adapted --set steps=2 --set data.patch_px=32 --set data.scene_px=48 "
        f'--set data.machines={{"{MACHINE}"=1.0}} --set data.pool=1 --set optimiser.batch=1 --set workers=0'
    ),
    "recipes-list": child("recipes list"),
    "recipes-show": child("recipes show own-pairs"),
    "simulate": child(f"simulate --machine {MACHINE} --count 2 --defects --out out/s --preview out/s.png"),
    "machines-list": child("machines list"),
    "machines-show": child("machines show S1"),
    "noise-pairs": child("noise pairs pairs --out out/noise"),
    "noise-machine": child("noise machine --from flats flats --darks darks --out out/m.toml"),
    "study": Child(program=STUDY),
    "library": Child(program=LIBRARY),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small inputs of every kind, and the guard."""
    folder = tmp_path_factory.mktemp("inputs")
    random = np.random.default_rng(0)
    np.save(folder / "in.npy", noisy(shape=(72, 80)))
    tifffile.imwrite(folder / "in.tif", noisy(shape=(72, 80)))
    for name, counts in {"flats": (400, 400, 2000, 2000, 9000, 9000), "darks": (0, 0)}.items():
        (folder / name).mkdir()
        for number, count in enumerate(counts):
            shot = 2 * random.poisson(count, (64, 64)) + 300 + 10 * random.standard_normal((64, 64))
            tifffile.imwrite(folder / name / f"{number}.tif", np.rint(shot).astype(np.uint16))
    for number in range(3):
        for part, sigma in (("LQ", 300), ("HQ", 70)):
            (folder / "pairs" / part).mkdir(parents=True, exist_ok=True)
            scene = noisy(shape=(72, 80), seed=number) // 4 + random.normal(20000, sigma, (72, 80))
            tifffile.imwrite(folder / "pairs" / part / f"{number}.tif", np.rint(scene).astype(np.uint16))
    (folder / "tiny.toml").write_text(tomli_w.dumps(TINY), encoding="utf-8")
    shutil.copy(shipped_weights()["fast"], folder)
    return folder


class Lived:
    """What a child tried and what it left."""

    def __init__(self, child: Child, inputs: Path, folder: Path) -> None:
        self.work, self.home, self.temporary = (folder / name for name in ("work", "home", "tmp"))
        shutil.copytree(inputs, self.work)
        before = sorted(path.name for path in self.work.iterdir())
        guard, record, self._trace = folder / "guard", folder / "record", folder / "trace"
        for made in (self.home, self.temporary, guard, self.work / "out"):
            made.mkdir()
        (guard / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
        record.touch()
        paths = (guard, ROOT / "src", TESTS, TESTS / "study")
        command = ["-c", child.program] if child.program else ["-m", "longexposure", *child.arguments]
        kept = ("PATH", "LD_LIBRARY_PATH", "LANG")
        done = subprocess.run(
            [*strace(self._trace), sys.executable, *command],
            cwd=self.work,
            env={
                **{name: os.environ[name] for name in kept if name in os.environ},
                "HOME": str(self.home),
                "TMPDIR": str(self.temporary),
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
                "RECORD": str(record),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in child.codes, done.stderr[-2000:]
        self.tried = record.read_text(encoding="utf-8").splitlines()
        after = (path.name for path in self.work.iterdir())
        self.left = [name for name in after if name not in (*before, "out")]
        for place in (self.home, self.temporary):
            self.left += [str(path.relative_to(folder)) for path in place.rglob("*")]

    def below_python(self) -> list[str]:
        """Hosts that were reached for, and files written outside the child's own folders."""
        if not self._trace.exists():
            return []
        lines = self._trace.read_text(encoding="utf-8", errors="replace").splitlines()
        hosts = [line for line in lines if "AF_INET" in line and not re.search(r'"(127\.0\.0\.1|::1)"', line)]
        own = f"{self.work.parent}/"
        written = []
        for line in lines:
            path = re.search(r'(?:openat|mkdirat|mkdir)\((?:AT_FDCWD, )?"(/[^"]*)"', line)
            writes = re.search(r"mkdir|O_CREAT|O_WRONLY|O_RDWR", line)
            refused = re.search(r"= -1 ", line)
            if path and writes and not refused and not path[1].startswith((own, "/dev/", "/proc/self/")):
                written.append(line)
        return [*hosts, *written]


def strace(trace: Path) -> list[str]:
    """The start of a command that is to be traced, where this host can; other calls pass at full speed."""
    options = ["-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto,openat,mkdir,mkdirat"]
    found = shutil.which("strace")
    if found is None:
        return []
    tried = subprocess.run([found, *options, "-o", os.devnull, "true"], capture_output=True, check=False)
    return [found, *options, "-o", str(trace)] if tried.returncode == 0 else []


@pytest.mark.parametrize("name", [pytest.param(name, marks=each.marks) for name, each in CHILDREN.items()])
def test_a_command_reaches_for_no_host_and_writes_only_where_it_was_told(
    name: str, inputs: Path, tmp_path: Path
) -> None:
    for package in re.findall("openvino|onnx|tensorboard|noise-pairs|watchfiles|serve", name):
        pytest.importorskip(
            {"onnx": "onnxruntime", "noise-pairs": "matplotlib", "serve": "fastapi"}.get(package, package)
        )
    lived = Lived(CHILDREN[name], inputs, tmp_path)
    assert lived.tried == []
    assert lived.left == []
    assert lived.below_python() == []


def test_every_command_is_among_them() -> None:
    def lines(command: object, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return {before}
        return {line for name, each in inner.items() for line in lines(each, (*before, name))}

    known = lines(typer.main.get_command(app))
    covered = {line for line in known for each in CHILDREN.values() if each.arguments[: len(line)] == line}
    assert known - covered == {("study",)}  # whose budgets take an hour: a program runs it in miniature


def test_the_guard_sees_an_attempt(inputs: Path, tmp_path: Path) -> None:
    reach = "import socket\ntry: socket.create_connection(('192.0.2.1', 9), 0.01)\nexcept OSError: pass"
    lived = Lived(Child(program=reach), inputs, tmp_path)
    assert lived.tried


def test_what_the_user_has_written_stays_and_is_read(tmp_path: Path) -> None:
    """Someone who told OpenVINO's telemetry no, and matplotlib how to draw."""
    pytest.importorskip("matplotlib")
    files = {"intel/openvino_telemetry": "0", ".config/matplotlib/matplotlibrc": "font.size: 7\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    program = """
import json, os
before = dict(os.environ)
from longexposure.report.plots import Series, line_chart
line_chart([Series(x=[0, 1], y=[0, 1], name="a")], title="t", x_label="x", y_label="y")
import matplotlib
print(json.dumps([matplotlib.rcParams["font.size"], before == dict(os.environ)]))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [7, True]
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(files)
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in files} == files
