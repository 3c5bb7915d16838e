"""The number of pixels is bounded by the header, before anything is decoded."""

import struct

import cv2
import numpy as np
import pytest
from picture_bytes import COLOUR, chunk, tiff
from PIL import Image

from sclip_seg.data.headers import MOST_PIXELS, OPTION, read_header
from sclip_seg.data.loading import read_picture
from sclip_seg.errors import InputError


def large_png(width, height):
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
    )


LARGE = {
    "png": large_png(30_000, 30_000),
    "long": large_png(2**31 - 1, 1),
    "bmp": b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "gif": b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b"," + bytes(10),
    "ppm": b"P6 30000 30000 255\n",
    "tiff": tiff(np.zeros((2, 2), np.uint16)).replace(
        struct.pack("<HHII", 256, 4, 1, 2), struct.pack("<HHII", 256, 4, 1, 900_000_000)
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_pixels_are_bounded_by_the_header(name, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    (tmp_path / "large").write_bytes(LARGE[name])
    with pytest.raises(
        InputError, match=rf"the limit is {MOST_PIXELS:,}; {OPTION}=[0-9]+ in the environment raises it"
    ):
        read_picture(tmp_path / "large")


def test_pixels_of_a_pil_picture_are_bounded(monkeypatch):
    monkeypatch.setenv(OPTION, "500")
    with pytest.raises(InputError, match="the limit is 500"):
        read_picture(Image.new("RGB", (30, 20)))


def test_the_limit_can_be_set(tmp_path, monkeypatch):
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    monkeypatch.setenv(OPTION, "719")
    with pytest.raises(InputError, match="30 x 24 pixels, 720 in all, and the limit is 719"):
        read_picture(tmp_path / "a.png")
    monkeypatch.setenv(OPTION, "720")
    assert read_picture(tmp_path / "a.png").shape == (24, 30, 3)
    monkeypatch.setenv(OPTION, "many")
    with pytest.raises(InputError, match=f"{OPTION} in the environment is 'many'"):
        read_picture(tmp_path / "a.png")
    monkeypatch.setenv(OPTION, "1_000_000_000")
    assert read_header(LARGE["png"]).size == (30_000, 30_000), "beyond pillow's own bound, when it is asked for"
    assert read_header(LARGE["bmp"]).size == (30_000, 30_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_side_that_cv2_does_not_read(tmp_path):
    Image.new("L", (1_100_000, 1)).save(tmp_path / "long.png")
    with pytest.raises(InputError, match="a side is longer than 1048576 pixels"):
        read_picture(tmp_path / "long.png")
