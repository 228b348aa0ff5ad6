"""Nothing leaves the host: packages that would report to their makers, or write where nobody asked them to.

What each does as soon as it is imported, left alone:

- openvino loads its converter of models, which posts a number for the user to an analytics host from a
  process that it forks for that, and keeps the number in the home folder;
- onnxruntime opens a data base of events and a device number in the cache folder, and calls its maker;
- matplotlib makes its folders in the home folder and puts a list of fonts there (torch's writer of
  event files for TensorBoard and the metrics of lightning-fabric import it);
- torch's compiler, which optimisers and exports import, makes a folder for caches among temporary files.

`kept_private` is round every import of them. It lasts as long as the import: environment and packages are
whole afterwards, what the user has set or written stays, and a package that a program imported before us
is that program's affair.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

OVC = "openvino.tools.ovc"
"""OpenVINO's converter of models: nothing here needs it, and it takes longer to load than all the rest."""

_LOCK = threading.RLock()


@contextlib.contextmanager
def kept_private() -> Iterator[None]:
    """Import what the module names in here; from several threads one after the other."""
    with _LOCK, tempfile.TemporaryDirectory(prefix="longexposure-", ignore_cleanup_errors=True) as folder:
        before = {name: os.environ.get(name) for name in _settings(folder)}
        hidden = [OVC] if "openvino" not in sys.modules else []
        os.environ.update(_settings(folder))
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
        try:
            yield
        finally:
            for name in hidden:
                del sys.modules[name]
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
