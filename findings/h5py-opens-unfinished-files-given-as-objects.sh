#!/bin/sh
# h5py 3.16.0 (HDF5 2.0.0) opens an HDF5 file that is still being written, or whose writer died, when it is given as
# a Python file object (open(path, "rb"), io.BytesIO, fsspec), and returns zeros for the images that are still to
# come. The same file given by its name is refused ("file is already open for write"), with file locking switched
# off too, by the flags in its superblock (libver="latest"). No error, no warning: half a scan, then black frames.
# Whoever reads a beamline's or a CT's file from an object store, from memory or inside another program's stream
# meets it. The flags are byte 11 of the file, of which bits 0 and 2 are set meanwhile.
#
# Seen with: h5py 3.16.0, HDF5 2.0.0, numpy 2.4.6, Python 3.11, Linux x86-64:
#   > being written  by name   refused
#   > being written  as object means of the images 7 7 0 0, byte 11 is 1
#   > writer died    by name   refused
#   > writer died    as object means of the images 7 7 0 0, byte 11 is 1
#   > closed         by name   means of the images 7 7 8 8, byte 11 is 0
#   > closed         as object means of the images 7 7 8 8, byte 11 is 0
# Fails where that changes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet h5py==3.16.0 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

import h5py

WRITER = """
import os, sys, h5py
file = h5py.File(sys.argv[1], "w", libver="latest")
data = file.create_dataset("scan", (4, 64, 64), "uint16", chunks=(1, 64, 64))
data[:2] = 7
file.flush()
print("half", flush=True)
if sys.stdin.readline() == "die\\n":
    os._exit(9)
data[2:] = 8
file.close()
"""


def seen(path, as_object):
    given = path.open("rb") if as_object else path
    try:
        with h5py.File(given, "r") as file:
            means = " ".join(str(int(image.mean())) for image in file["scan"][()])
        return f"means of the images {means}, byte 11 is {path.read_bytes()[11]}"
    except OSError as error:
        assert "already open for write" in str(error) or "unable to lock" in str(error), error
        return "refused"


found = {}


def note(state, path):
    for as_object in (False, True):
        found[state, as_object] = seen(path, as_object)
        print(f"{state:14} {'as object' if as_object else 'by name  '} {found[state, as_object]}")


for end, state in (("die", "writer died"), ("close", "closed")):
    path = Path(sys.argv[1]) / f"{end}.h5"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "half\n"
        if end == "die":
            note("being written", path)
        writer.communicate(f"{end}\n")
    note(state, path)
half, whole = "means of the images 7 7 0 0, byte 11 is 1", "means of the images 7 7 8 8, byte 11 is 0"
assert found == {
    ("being written", False): "refused",
    ("being written", True): half,
    ("writer died", False): "refused",
    ("writer died", True): half,
    ("closed", False): whole,
    ("closed", True): whole,
}, found
PYTHON
