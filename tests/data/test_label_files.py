"""Label files of every kind: the stored values, or a sentence, the same from tools/test.py and from verify."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from own_config import write_config
from PIL import Image, features
from runs import run

from sclip_seg.data.label_files import read_labels, whole_numbers
from sclip_seg.data.prepare.verify import verify
from sclip_seg.errors import InputError

VALUES = np.array([[0, 1, 2], [3, 0, 1]])
WORDS = ["sky", "tree", "sea", "sand"]


def saved(folder, name, pixels, mode=None, **options):
    picture = Image.fromarray(pixels)
    path = folder / name
    (picture.convert(mode) if mode else picture).save(path, **options)
    return str(path)


def grey_png(path, bits, values):
    """A grey PNG of 1 to 16 bits a pixel, as the standard has it, one row."""
    row = "".join(f"{value:0{bits}b}" for value in values)
    row += "0" * (-len(row) % 8)
    packed = bytes(int(row[start : start + 8], 2) for start in range(0, len(row), 8))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", len(values), 1, bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + packed)),
        (b"IEND", b""),
    ]
    framed = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    return str(path)


KINDS = {".png": "B H", ".tif": "B H i f", ".bmp": "B", ".gif": "B"}  # of numbers


@pytest.mark.parametrize(("suffix", "kind"), [(suffix, kind) for suffix in KINDS for kind in KINDS[suffix].split()])
def test_values_are_those_that_were_saved(tmp_path, suffix, kind):
    values = VALUES if kind == "B" else VALUES + 846
    assert np.array_equal(read_labels(saved(tmp_path, f"a{suffix}", values.astype(kind))), values)


@given(values=st.lists(st.integers(0, 255), min_size=1, max_size=20), compression=st.sampled_from([None, "tiff_lzw"]))
def test_palettes_are_read_by_number(tmp_path_factory, values, compression):
    picture = Image.fromarray(np.array([values], np.uint8))
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    folder = tmp_path_factory.mktemp("palette")
    picture.save(folder / "a.png")
    picture.save(folder / "a.tif", compression=compression)
    for name in ("a.png", "a.tif"):
        assert read_labels(str(folder / name)).tolist() == [values]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_png_of_any_depth(tmp_path, bits):
    values = [0, 1, 2**bits - 1, 2**bits // 2]
    assert read_labels(grey_png(tmp_path / "a.png", bits, values)).tolist() == [values]


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.int32, np.int64, np.uint32, np.bool_, np.uint16]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=4),
    )
)
def test_no_number_is_changed_without_a_word(values):
    fits = np.isfinite(values) & (values >= 0) & (values <= 65535) & (values == np.trunc(values))
    if fits.all():
        found = whole_numbers(values, "a.tif")
        assert found.dtype in (np.uint8, np.uint16)
        assert np.array_equal(found, values)
    else:
        with pytest.raises(InputError, match=r"the label map a\.tif has "):
            whole_numbers(values, "a.tif")


def int8_tiff(path):
    """-1 in 8 bits with a sign, which pillow shows as 255."""
    Image.fromarray(VALUES.astype(np.uint8) - 1).save(path, tiffinfo={339: 2})


def unsigned_tiff(path):
    Image.fromarray((VALUES - 1).astype(np.int32)).save(path)
    content, entry = path.read_bytes(), struct.pack("<HHI", 339, 3, 1)  # the type of the numbers
    assert content.count(entry + b"\2") == 1
    path.write_bytes(content.replace(entry + b"\2", entry + b"\1"))


def pages(path):
    Image.fromarray(VALUES.astype(np.uint8)).save(path, save_all=True, append_images=[Image.new("L", (3, 2))])


def of(kind, *odd):
    return lambda path: Image.fromarray(np.array([[0, 1, *odd]], kind)).save(path)


def lossy(mode, **options):
    return lambda path: Image.fromarray(VALUES.astype(np.uint8)).convert(mode).save(path, **options)


FAULTY = {
    "nan.tif": (of(np.float32, np.nan), "has nan (row 0, column 2; 1 such pixel)"),
    "infinite.tif": (of(np.float32, np.inf), "has inf"),
    "half.tif": (of(np.float32, 1.5), "has the fraction 1.5"),
    "negative.tif": (of(np.int32, -1), "has the value -1 (row 0, column 2; 1 such pixel), which is negative"),
    "nodata.tif": (of(np.float32, -9999), "has the value -9999.0"),
    "beyond.tif": (of(np.int32, 70000), "has the value 70000 (row 0, column 2; 1 such pixel), which is beyond 65535"),
    "signed.tif": (int8_tiff, "has the value -1"),
    "unsigned.tif": (unsigned_tiff, "has the value 4294967295"),
    "a.jpg": (lossy("L"), "is JPEG, which may change values"),
    "jpeg.png": (lossy("L", format="JPEG"), "is JPEG"),
    "inside.tif": (lossy("L", compression="jpeg"), "is JPEG"),
    "a.webp": (lossy("RGB"), "is WebP"),
    "a.jp2": (lossy("L"), "is JPEG 2000"),
    "colour.png": (lossy("RGB"), "is a colour picture (RGB)"),
    "alpha.png": (lossy("LA"), "is a colour picture (LA)"),
    "pages.tif": (pages, "holds 2 pictures"),
    "of_16_bits.png": (of(np.uint16, 300), "has the value 300 (1 pixel); the classes are 0 to 3, and 255 is ignored"),
    "one_more.png": (of(np.uint8, 4), "has the value 4 (1 pixel); the classes are 0 to 3, and 255 is ignored; where"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_run_and_verify_refuse_the_same_in_the_same_words(name, tmp_path, monkeypatch, tiny, capsys):
    write, message = FAULTY[name]
    if name == "a.jp2" and not features.check("jpg_2000"):
        pytest.skip("pillow was built without JPEG 2000")
    monkeypatch.chdir(tmp_path)
    path = Path("l", name)
    path.parent.mkdir()
    write(path)
    Path("p").mkdir()
    Image.new("RGB", Image.open(path).size).save(f"p/{path.stem}.png")
    keys = f"type='FolderDataset', pictures='p', labels='l', label_suffix='{path.suffix}', vocabulary={WORDS!r}"
    assert run(write_config(tmp_path, keys, WORDS), "--work-dir", "run") == 2
    told = capsys.readouterr().err
    assert f"error: the label map {path} {message}" in told
    assert "Traceback" not in told
    dataset = dict(type="FolderDataset", data_root="", pictures="p", labels="l", picture_suffix=".png")
    (fault,) = verify(dataset | dict(label_suffix=path.suffix, vocabulary=WORDS)).faults
    assert told[told.index("the label map ") :].startswith(f"{fault}. Mend or replace it and go on with --resume")


def test_smaller_copies_in_a_file_are_no_pictures(tmp_path):
    """As GeoTIFFs have them, for the screen."""
    path = tmp_path / "a.tif"
    small = Image.new("L", (1, 1))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(VALUES.astype(np.uint8)).save(path, save_all=True, append_images=[small])
    with Image.open(path) as file:
        file.seek(1)
        if 254 not in file.tag_v2:
            pytest.skip("this pillow does not write what a page is")
    assert np.array_equal(read_labels(str(path)), VALUES)
