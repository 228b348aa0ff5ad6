"""The hot folder takes every format that the reader knows."""

from __future__ import annotations

import shutil
from dataclasses import replace

import h5py
import numpy as np
from hot import GAUSSIAN, Run
from PIL import Image
from quick import noisy

from longexposure.io import read_radiograph, write_radiograph
from longexposure.radiograph import Radiograph

PIXELS = noisy(0, (64, 64))


def test_every_format_that_arrives_is_enhanced(folder, source, out):
    stack = noisy(1, (3, 64, 64))
    for name in ("a.dcm", "b.h5"):
        write_radiograph(Radiograph(stack), source / name)
    np.save(source / "c.npy", stack)
    for name in ("d.bmp", "e.jpg", "f.pgm"):
        Image.fromarray((PIXELS >> 8).astype(np.uint8)).save(source / name)
    (source / "g.raw").write_bytes(PIXELS.tobytes())
    (source / "g.raw.toml").write_text('shape = [64, 64]\ntype = "uint16"\n')
    (source / "h.bin").write_bytes(bytes(10))  # which may be anything
    run = Run(folder, GAUSSIAN, once=True)
    run.join()
    assert run.error is None
    assert sorted(run.names("enhanced")) == ["a.dcm", "b.h5", "c.npy", "d.bmp", "e.jpg", "f.pgm", "g.raw"]
    assert run.names("failed") == []
    assert "blocks of 8 x 8" in run.texts("warning")
    for name in ("a.dcm", "b.h5", "c.tif"):
        assert read_radiograph(out / name).pixels.shape == stack.shape
        assert read_radiograph(out / name).history[-1].action == "enhance"


def test_dataset_is_that_of_all_files(folder, source, out):
    with h5py.File(source / "a.h5", "w") as file:
        file["one"], file["two"] = PIXELS, PIXELS[::-1]
    run = Run(folder, GAUSSIAN, once=True)
    run.join()
    assert "name its path" in run.texts("failed")
    for kind in ("enhanced", "found"):
        shutil.rmtree(out / "quarantine", ignore_errors=True)
        (out / "ledger.sqlite").unlink()
        run = Run(replace(folder, dataset="two"), GAUSSIAN, once=True)
        run.join()
        assert run.names(kind) == ["a.h5"], run.events
    with h5py.File(out / "a.h5") as file:
        np.testing.assert_array_equal(file["one"], PIXELS)
        assert not np.array_equal(file["two"], PIXELS[::-1])


def test_hdf5_that_is_being_written_is_taken_when_its_writer_is_done(folder, source, out):
    run = Run(folder, GAUSSIAN, once=False)
    try:
        with h5py.File(source / "a.h5", "w", libver="latest") as file:
            file["x"] = PIXELS
            file.swmr_mode = True
            file.flush()
            run.wait_for(lambda: "being written" in run.texts("failed"))
        run.wait_for(lambda: run.names("enhanced") == ["a.h5"])
    finally:
        run.end()
    assert read_radiograph(out / "a.h5").history[-1].action == "enhance"
