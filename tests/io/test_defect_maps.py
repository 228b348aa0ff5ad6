"""Maps of a detector's faulty pixels: every form is read, and what is none is refused in one line."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from longexposure.errors import InputError
from longexposure.io import defect_maps
from longexposure.io.defect_maps import read_defect_map
from longexposure.io.png import png_bytes

SHAPE = (40, 60)
PLACES = {(3, 7), (3, 8), (39, 59), (0, 0)}

XML = """<?xml version="1.0" encoding="utf-8"?>
<BadPixelMap SizeX="60" SizeY="40">
  <BadPixels>
    <BadPixel X="7" Y="3" Mask="63" NoisyPixel="false" /><BadPixel X="8" Y="3" Mask="255" />
    <BadPixel X="59" Y="39" /></BadPixels>
  <UserDefinedBadPixels><BadPixel X="0" Y="0" /></UserDefinedBadPixels>
  <BadRows>{rows}</BadRows>
  <BadColumns />
</BadPixelMap>"""


def mask(dtype: str = "uint8", value: float = 1) -> np.ndarray:
    image = np.zeros(SHAPE, dtype)
    for place in PLACES:
        image[place] = value
    return image


def written(folder: Path, kind: str) -> Path:
    path = folder / f"map.{kind.split()[0]}"
    if kind == "tif":
        tifffile.imwrite(path, mask("uint16", 500))
    elif kind == "tif of floats":
        tifffile.imwrite(path, mask("float32", -1))
    elif kind == "png":
        path.write_bytes(png_bytes(mask(value=255)))
    elif kind == "xml":
        path.write_text(XML.format(rows=""))
    else:
        lines = [f"{x},{y}" for y, x in sorted(PLACES)]
        text = {
            "csv": "\n".join(lines),
            "csv with a header": "\ufeffX,Y\r\n" + "\r\n".join(lines) + "\r\n",
            "csv of rows first": "row;column;why\n" + "\n".join(f"{y};{x};dead" for y, x in PLACES),
            "csv with remarks": "# panel 7\n\n" + "\n".join(f"{line}  # dead" for line in lines),
            "csv with blanks": "\n".join(line.replace(",", "   ") for line in lines),
        }[kind]
        path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *("tif", "tif of floats", "png", "xml", "csv", "csv with a header", "csv of rows first"),
        *("csv with remarks", "csv with blanks"),
    ],
)
def test_every_form_tells_the_same_pixels(kind, tmp_path):
    path = written(tmp_path, kind)
    found = read_defect_map(path)
    marked = found.mask_for(SHAPE, where="image")
    assert set(zip(*np.nonzero(marked.within()), strict=True)) == PLACES
    assert marked.count == len(PLACES)
    assert found.reference() == {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert np.array_equal(pickle.loads(pickle.dumps(found)).places, found.places)


@pytest.mark.parametrize(
    "text",
    [
        "X [px],Y [px]\n50,60\n",
        "x (px) , y (px)\n50 , 60\n",
        "50.0,60.0\n",
        "5.0e+01 6.0e+01\n",
        "50 ,\t60\n",
        '"50"; "60"\n',
        "row, column\n60., 50.\n",
        "  50   60  # hot\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_that_programs_write_are_taken(text, encoding, tmp_path):
    path = tmp_path / "map.csv"
    path.write_text(text, encoding=encoding)
    np.testing.assert_array_equal(read_defect_map(path).places, [[60], [50]])


@pytest.mark.parametrize("text", ["50.5,60\n", "nan,1\n", "1e400,1\n", "1,\n", ",1\n", "x,y\n1,inf\n"])
def test_lines_without_a_place_are_refused(text, tmp_path):
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"map\.csv: expected"):
        read_defect_map(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_prefixes_and_encodings_of_xml_are_taken(encoding, tmp_path):
    path = tmp_path / "map.xml"
    text = XML.format(rows='<BadRow Y="5" />')
    text = (
        text[text.index("<BadPixelMap") :].replace("</", "</p:").replace("<", "<p:").replace("<p:/p:", "</p:")
    )
    text = text.replace("<p:BadPixelMap", '<p:BadPixelMap xmlns:p="urn:a"', 1)
    path.write_text(text, encoding=encoding)
    assert read_defect_map(path).rows == (5,)


def test_whole_rows_are_taken(tmp_path):
    path = tmp_path / "map.xml"
    path.write_text(XML.format(rows='<BadRow Y="5" />'))
    marked = read_defect_map(path).mask_for(SHAPE, where="image").within()
    assert marked[5].all()
    assert marked.sum() == SHAPE[1] + len(PLACES)


@pytest.mark.parametrize("kind", ["tif", "png", "xml"])
def test_a_map_of_another_size_is_refused(kind, tmp_path):
    found = read_defect_map(written(tmp_path, kind))
    with pytest.raises(InputError, match=r"an image of 60 x 40 px.*found 60 x 41 px"):
        found.mask_for((41, 60), where="image")


def test_pixels_outside_of_the_image_are_refused(tmp_path):
    found = read_defect_map(written(tmp_path, "csv"))
    with pytest.raises(InputError, match=r"found 1 of map.csv outside, the first at x=59, y=39"):
        found.mask_for((39, 60), where="image")


REFUSED = {
    "empty": (b"", "at least one faulty pixel"),
    "a header alone": (b"x,y\n", "at least one faulty pixel"),
    "half a number": (b"3,4\n5,6.5\n", "two whole numbers in line 2"),
    "one number": (b"3\n", "two whole numbers in line 1"),
    "far away": (b"3,99999999999\n", "the place of a pixel in line 1"),
    "words": (b"dear diary\n", "text that begins with"),
    "bytes": (bytes(range(128, 256)), "bytes that are no text"),
    "another XML": (b"<svg />", "as its root"),
    "cut off": (XML[:-40].encode(), "expected XML"),
    "no number": (XML.replace('X="7"', 'X="seven"').encode(), "a whole number X in every BadPixel"),
    "no size": (XML.replace('SizeX="60"', "").encode(), "a whole number SizeX"),
    "a document type": (
        b'<!DOCTYPE a [<!ENTITY b "c">]><BadPixelMap SizeX="6" SizeY="4" />',
        "document type",
    ),
    "nested": (b'<BadPixelMap SizeX="6" SizeY="4">' + b"<a>" * 30, "nested deeper"),
    "a damaged TIFF": (b"II*\0\x08\0\0\0", "expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_map_is_refused_in_one_line(name, tmp_path):
    content, said = REFUSED[name]
    path = tmp_path / "map.any"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_defect_map(path)
    assert "\n" not in str(error.value)
    assert "map.any" in str(error.value)


def test_masks_that_are_none_are_refused(tmp_path):
    path = tmp_path / "map.tif"
    tifffile.imwrite(path, 1 - mask())
    with pytest.raises(InputError, match="invert it"):
        read_defect_map(path)
    tifffile.imwrite(path, np.stack([mask(), mask()]), photometric="minisblack")
    with pytest.raises(InputError, match="2 pages"):
        read_defect_map(path)
    with pytest.raises(InputError, match="can be read"):
        read_defect_map(tmp_path / "none.csv")
    with pytest.raises(InputError, match="can be read"):
        read_defect_map(tmp_path)


def test_a_text_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(defect_maps, "MAX_TEXT_BYTES", 10)
    with pytest.raises(InputError, match="no TIFF or PNG"):
        read_defect_map(written(tmp_path, "csv"))
