"""Pictures of every depth, kind and size: the same by path and through pillow, or refused in words."""

import contextlib
import struct
import warnings
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_bytes import COLOUR, GREY, chunk, tiff
from PIL import Image

from sclip_seg.data.depth import to_eight_bits
from sclip_seg.data.loading import read_picture
from sclip_seg.errors import InputError


def encoded(suffix, pixels, *options):
    """A file's content as cv2 writes it."""
    return cv2.imencode(suffix, pixels, *options)[1].tobytes()


def saved(picture, kind, **options):
    """A file's content as pillow writes it."""
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def with_chunk(png, name, data):
    """The PNG with one chunk more, behind its header."""
    return png[:33] + chunk(name, data) + png[33:]


def both(content, tmp_path):
    """The picture by path and through pillow, opened and loaded, and from memory, with what was told of each."""
    path = tmp_path / "picture"
    path.write_bytes(content)
    forms = [str(path), Image.open(path), Image.open(path), Image.open(BytesIO(content))]
    forms[2].load()
    found = []
    for form in forms:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found.append((read_picture(form), " ".join(str(warning.message) for warning in told)))
    return found


@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize("pixels", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_pictures_are_as_bright_as_they_were(suffix, pixels, bits, tmp_path):
    deep = pixels.astype(np.uint16) << (bits - 8)
    expected = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    for found, told in both(encoded(suffix, deep), tmp_path):
        np.testing.assert_array_equal(found, expected)
        assert (f"read as one of {bits} bits" in told) == (bits < 16)


def test_what_a_file_says_of_its_bits_needs_no_warning(tmp_path):
    deep, spread = GREY.astype(np.uint16) << 4, GREY.astype(np.uint16) << 8
    contents = {
        "sBIT, values as they were": with_chunk(encoded(".png", deep), b"sBIT", b"\x0c"),
        "sBIT, values spread as PNG has it": with_chunk(encoded(".png", spread), b"sBIT", b"\x0c"),
        "MaxSampleValue": tiff(deep, extra=[(281, 4095)]),
        "BitsPerSample": tiff(deep, bits=12),
        "Netpbm": b"P5 30 24 4095\n" + deep.astype(">u2").tobytes(),
    }
    for name, content in contents.items():
        for found, told in both(content, tmp_path):
            np.testing.assert_allclose(found[..., 0].astype(int), GREY, atol=1 if name == "Netpbm" else 0, err_msg=name)
            assert not told, name


@pytest.mark.parametrize("kind", [".png", ".tif"])
def test_dark_pictures_of_a_file_that_says_its_bits_stay_dark(kind, tmp_path):
    dark = np.minimum(GREY, 40).astype(np.uint16) << 4
    content = with_chunk(encoded(kind, dark), b"sBIT", b"\x0c") if kind == ".png" else tiff(dark, bits=12)
    for found, told in both(content, tmp_path):
        np.testing.assert_array_equal(found[..., 0], np.minimum(GREY, 40))
        assert not told


@given(st.integers(1, 65535), st.integers(0, 2**32 - 1))
def test_depth_keeps_the_order_and_the_range(high, seed):
    values = np.random.default_rng(seed).integers(0, high + 1, 50).astype(np.uint16)
    values[0] = high
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = to_eight_bits(values, "it")
    order = values.argsort()
    assert (np.diff(found[order].astype(int)) >= 0).all()
    assert found[0] >= min(high, 127)
    assert bool(told) == (high < 32768)
    if high >= 32768:
        np.testing.assert_array_equal(found, values // 256)


@pytest.mark.parametrize("scale", [1, 255])
def test_fractions(scale, tmp_path):
    values = (GREY / 255 * scale).astype(np.float32)
    for found, told in both(saved(Image.fromarray(values), "TIFF"), tmp_path):
        np.testing.assert_array_equal(found[..., 1], GREY)
        assert ("0 to 255" in told) == (scale == 255)
    colours = (COLOUR / 255 * scale).astype(np.float32)
    plain = [cv2.IMWRITE_TIFF_COMPRESSION, 1]  # OpenCV 4.9 writes fractions with losses otherwise
    cv2.imwrite(str(tmp_path / "colours.tif"), colours, plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(read_picture(tmp_path / "colours.tif"), COLOUR)


@pytest.mark.parametrize(
    ("odd", "reason"), [(np.nan, "NaN"), (np.inf, "infinity"), (-3.0, "run from -3"), (70000.0, "to 70000")]
)
def test_fractions_that_are_no_picture(odd, reason, tmp_path):
    values = (GREY / 255).astype(np.float32)
    values[3, 4] = odd
    Image.fromarray(values).save(tmp_path / "odd.tif")
    for form in (tmp_path / "odd.tif", Image.fromarray(values)):
        with pytest.raises(InputError, match=reason):
            read_picture(form)


def frames(kind):
    more = [Image.fromarray(np.roll(COLOUR, step, 0)) for step in (3, 6)]
    return saved(Image.fromarray(COLOUR), kind, save_all=True, append_images=more)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (frames("GIF"), "3 frames"),
        (frames("PNG"), "3 frames"),
        (frames("WEBP"), "3 frames"),
        (frames("TIFF"), "3 frames or pages"),
        (saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG"), "CMYK"),
        (saved(Image.fromarray(COLOUR).convert("CMYK"), "TIFF"), "CMYK"),
        (saved(Image.fromarray(np.dstack([COLOUR, GREY])), "PNG"), "fourth band"),
        (saved(Image.fromarray(np.dstack([GREY, GREY])), "PNG"), "fourth band"),
        (saved(Image.fromarray(COLOUR).quantize(9), "PNG", transparency=2), "fourth band"),
        (saved(Image.fromarray(np.dstack([COLOUR, GREY])), "TIFF"), "fourth band"),
        (saved(Image.fromarray(np.dstack([COLOUR, np.full_like(GREY, 255)])), "PNG"), ""),
        (saved(Image.fromarray(COLOUR).quantize(9), "PNG"), ""),
        (saved(Image.fromarray(GREY), "PNG"), ""),
        (saved(Image.fromarray(GREY > 99), "PNG"), ""),
        (saved(Image.fromarray(COLOUR), "BMP"), ""),
    ],
)
def test_kinds_are_as_cv2_reads_them_and_what_is_left_out_is_told(content, line, tmp_path):
    plain = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    found = both(content, tmp_path)
    if plain is not None:  # GIF needs opencv 4.11
        np.testing.assert_array_equal(found[0][0], plain)
    for pixels, told in found:
        if "over black" not in found[0][1]:
            assert np.abs(pixels.astype(int) - found[0][0]).max() <= 1
        assert line in told if line else not told


def five_bands():
    height, width, bands = 6, 5, 5
    data = bytes(height * width * bands)
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 2), (277, bands), (278, height)]
    tags += [(273, 8 + 2 + 12 * 9 + 4), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


JPEG = saved(Image.fromarray(np.kron(COLOUR, np.ones((4, 4, 1), np.uint8))), "JPEG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (five_bands(), "it has 5 bands"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "it is HEIC"),
        (b"<!DOCTYPE html><html>", "no picture of a kind that is read"),
        (b"", "it is empty"),
        (JPEG[: len(JPEG) // 2], "cut off"),
        (JPEG[:-2], "cut off"),
        (saved(Image.fromarray(COLOUR), "PNG")[:500], "truncated"),
        (saved(Image.fromarray(COLOUR), "PNG")[:20], "header is damaged"),
        (saved(Image.fromarray(COLOUR), "TIFF")[:500], "cannot be read"),
        (saved(Image.fromarray(COLOUR), "JPEG2000")[:900], "cut off"),
    ],
)
def test_what_cannot_be_read_is_said_for_what_it_is(content, reason, tmp_path):
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_picture(tmp_path / "odd")
    assert str(tmp_path / "odd") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "GIF", "BMP"])
def test_a_pil_picture_that_fails_late(kind):
    picture = Image.open(BytesIO(saved(Image.fromarray(COLOUR), kind)[:-250]))
    with pytest.raises(InputError, match="PIL picture cannot be read"):
        read_picture(picture)


def test_a_closed_pil_picture(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pass
    with pytest.raises(InputError, match="PIL picture cannot be read"):
        read_picture(picture)


def test_a_painted_deep_picture_is_not_read_again(tmp_path):
    (tmp_path / "deep.png").write_bytes(encoded(".png", COLOUR.astype(np.uint16) << 8))
    picture = Image.open(tmp_path / "deep.png")
    picture.paste((9, 8, 7), (0, 0, 30, 24))
    np.testing.assert_array_equal(read_picture(picture)[3, 4], (7, 8, 9))


STARTS = (JPEG, frames("PNG"), frames("GIF"), frames("TIFF"), five_bands())


@given(
    st.binary(max_size=400),
    st.sampled_from([b"", *(content[:60] for content in STARTS)]),
)
def test_no_bytes_end_in_anything_but_words(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(InputError):
            assert read_picture(path).dtype == np.uint8
