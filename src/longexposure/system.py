"""The host: memory left and run out, what a result was computed on, and that nothing leaves it."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from longexposure.errors import ResourceError

PACKAGES = ("longexposure", "numpy", "scipy", "scikit-image", "torch", "tifffile", "openvino", "onnxruntime")
"""Whose versions may change a result or its speed."""

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Those of a processor that decide how fast networks run."""

CAREFUL_BYTES = 2 << 30
"""Free memory of a host that does not tell."""

_RAN_OUT = (
    "out of memory",
    "can't alloc",
    "allocate memory",
    "failed to allocate",
    "alloc_failed",
    "bad_alloc",
    "bad alloc",
)
"""In the messages of torch, CUDA's libraries, OpenVINO and ONNX Runtime, in small letters."""


OVC = "openvino.tools.ovc"
"""OpenVINO's converter of models: nothing here needs it, and it takes longer to load than all the rest."""

_LOCK = threading.RLock()


EXTRAS = {
    "openvino": "openvino",
    "torch": "train",
    "lightning_fabric": "train",
    "skimage": "train",
    "onnx": "train",
    "onnxscript": "train",
    "tensorboard": "tensorboard",
    "matplotlib": "plots",
    "watchfiles": "plant",
    "pydicom": "dicom",
    "h5py": "hdf5",
    "fastapi": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
}
"""Packages that enhancing does without, and which extra of ours brings each."""


def require(*packages: str, where: str) -> None:
    """Ask for packages of our extras before the work that needs them is begun.

    Args:
        packages: names of `EXTRAS`, all of one extra; none is imported for that.
        where: what needs them.

    Raises:
        ResourceError: one of them is missing.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ResourceError(
            where=where,
            expected=f"the package{'s' if len(packages) > 1 else ''} {' and '.join(packages)}",
            found=f"no {' and no '.join(missing)}",
            advice=f"run {installing(missing[0])}",
        )


def installing(package: str) -> str:
    """The command that brings a package, as text."""
    extra = EXTRAS.get(package)
    return f"`pip install {package}`" if extra is None else f"`pip install 'longexposure[{extra}]'`"


def as_missing(error: ImportError, *, where: str) -> ResourceError | None:
    """What an import of a package of our extras that is not there means; None for any other."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS or find_spec(package) is not None:
        return None
    return ResourceError(
        where=where,
        expected=f"the package {package}, which enhancing does without",
        found="none",
        advice=f"run {installing(package)}",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's own, or any library's by its message."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _RAN_OUT)


@contextlib.contextmanager
def as_memory_error() -> Iterator[None]:
    """Tell of memory that ran out as Python does, whatever a library calls it.

    Raises:
        MemoryError: in place of a library's own error inside.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) and not isinstance(error, MemoryError):
            raise MemoryError(str(error)) from error
        raise


_GROUPS = (
    ("", "/sys/fs/cgroup", "memory.max", "memory.current", ("active_file", "inactive_file")),
    (
        "memory",
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_active_file", "total_inactive_file"),
    ),
)
"""Linux's control groups, in which containers live, of the second version and the first: their name in
/proc/self/cgroup, the folder of the outermost, the files with the most bytes that a group may have and with
what it has, and which of the latter, by memory.stat, are files: counted as used, given back when needed."""


def free_memory() -> int:
    """Bytes of main memory that can be had now, within the limits of container and process, if any."""
    left: list[int] = []
    with contextlib.suppress(OSError, ValueError, RuntimeError, psutil.Error):  # a /proc that is not there
        left.append(psutil.virtual_memory().available)
        process = psutil.Process()
        if hasattr(process, "rlimit"):  # where the system has limits for a process (`ulimit -v` or `-d`)
            held = process.memory_info()
            for kind, size in ((psutil.RLIMIT_AS, held.vms), (psutil.RLIMIT_DATA, held.data)):
                limit = process.rlimit(kind)[0]
                if limit != psutil.RLIM_INFINITY:
                    left.append(limit - size)
    for name, root, most, used, cached in _GROUPS:
        inside = Path()
        with contextlib.suppress(OSError, ValueError):
            for line in Path("/proc/self/cgroup").read_text().splitlines():
                _, names, path = line.split(":", 2)
                if name in names.split(","):
                    inside = Path(path.lstrip("/"))
        for folder in (root / group for group in dict.fromkeys((inside, *inside.parents))):
            with contextlib.suppress(OSError, ValueError):  # no such group, or one without a limit
                limit = int((folder / most).read_text())
                stat = map(str.split, (folder / "memory.stat").read_text().splitlines())
                files = sum(int(value) for kind, value in stat if kind in cached)
                left.append(limit - int((folder / used).read_text()) + files)
    return max(min(left, default=CAREFUL_BYTES), 0)


def host_facts() -> dict[str, Any]:
    """What a result is computed on, ready for JSON: hardware, system, versions, and the code's own commit.

    `threads` are torch's, where it is there; `gpu` is None without one; `commit` and `dirty`, whether sources
    differ from it, are None outside a checkout.
    """
    threads, gpu = None, None
    if find_spec("torch") is not None:
        import torch

        threads = torch.get_num_threads()
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    processor = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    instructions = [name for name in INSTRUCTIONS if name in processor.get("flags", "").split()]
    name = processor.get("model name") or platform.processor() or platform.machine()
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", "src")
    return {
        "processor": f"{name} ({', '.join(instructions)})" if instructions else name,
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": gpu,
        "system": platform.platform(),
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this file lies in; None where it lies in none."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # an installed package may lie within a checkout of something else
        return None
    try:
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]  # which writes nothing there
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@contextlib.contextmanager
def kept_private() -> Iterator[None]:
    """Import in here what would report to its maker, or write where nobody asked it to.

    What each does as soon as it is imported, left alone:

    - openvino loads its converter of models, which posts a number for the user to an analytics host from a
      process that it forks for that, and keeps the number in the home folder;
    - onnxruntime opens a data base of events and a device number in the cache folder, and calls its maker;
    - matplotlib makes its folders in the home folder and puts a list of fonts there (torch's writer of
      event files for TensorBoard and the metrics of lightning-fabric import it);
    - torch's compiler, which optimisers and exports import, makes a folder for caches among temporary files.

    This is round every import of them, in several threads one after the other. It lasts as long as the
    import: environment and packages are whole afterwards, what the user has set or written stays, and a
    package that a program imported before us is that program's affair.
    """
    with _LOCK, tempfile.TemporaryDirectory(prefix="longexposure-", ignore_cleanup_errors=True) as folder:
        before = {name: os.environ.get(name) for name in _settings(folder)}
        hidden = [OVC] if "openvino" not in sys.modules else []
        os.environ.update(_settings(folder))
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
        try:
            yield
        finally:
            for name in hidden:
                sys.modules.pop(name, None)  # or one within has done it
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _settings(folder: str) -> dict[str, str]:
    """The environment of an import: no reports, and caches in a folder that goes again."""
    settings = {"ORT_DISABLE_TELEMETRY": "1", "XDG_CACHE_HOME": folder, "TORCHINDUCTOR_CACHE_DIR": folder}
    if "MPLCONFIGDIR" not in os.environ and not _matplotlib_folder().is_dir():
        settings["MPLCONFIGDIR"] = folder
    return settings


def _matplotlib_folder() -> Path:
    """Where the user's settings for matplotlib would be: they are read where they are there."""
    try:
        home = Path.home()
    except RuntimeError:  # no home at all: it would look in vain
        return Path(os.devnull)
    if sys.platform.startswith(("linux", "freebsd")):
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "matplotlib"
    return home / ".matplotlib"
