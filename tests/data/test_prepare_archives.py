"""Unpacking: good archives whole, damaged ones refused, and nothing ever outside the folder."""

import io
import stat
import tarfile
import zipfile

import numpy as np
import pytest

from sclip_seg.data.prepare import archives
from sclip_seg.data.prepare.archives import NoSpace, unpack
from sclip_seg.data.prepare.catalogue import Archive, Benchmark
from sclip_seg.data.prepare.download import check_space, download, put
from sclip_seg.errors import InputError

FILES = {"set/images/a.jpg": b"picture", "set/images/deep/b.jpg": b"", "set/list.txt": b"a\n", "other/c.txt": b"c"}
NOISE = np.random.default_rng(0).bytes(40_000)


def make_zip(path, files, **kinds):
    """`kinds`: name -> file type bits, for what is no plain file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/", "")
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kinds.get(name, stat.S_IFREG) | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def make_tar(path, files, mode="w", **kinds):
    """`kinds`: name -> tar type, linking to the content."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type = kinds.get(name, tarfile.REGTYPE)
            if info.type == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            archive.addfile(info, io.BytesIO(content))
    return path


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def out(tmp_path):
    """An empty folder within an empty folder, so that what leaves the one is seen in the other."""
    folder = tmp_path / "around" / "out"
    folder.mkdir(parents=True)
    return folder


def refuse(path, out, message, inside=""):
    with pytest.raises(InputError, match=message) as caught:
        unpack(path, inside, out)
    assert str(path) in str(caught.value)
    assert tree(out.parent) == {}


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:xz"])
@pytest.mark.parametrize(("inside", "prefix"), [("", ""), ("set", "set/"), ("set/images", "set/images/")])
def test_unpacks_the_wanted_folder(tmp_path, out, mode, inside, prefix):
    path = make_zip(tmp_path / "a", FILES) if mode == "zip" else make_tar(tmp_path / "a", FILES, mode)
    expected = {name.removeprefix(prefix): content for name, content in FILES.items() if name.startswith(prefix)}
    assert unpack(path, inside, out) == len(expected)
    assert tree(out) == expected


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "set/../../x", "set/..", "a\\..\\..\\x", "C:/x"])
def test_names_that_lead_out(tmp_path, out, name):
    for make in (make_zip, make_tar):
        path = make(tmp_path / "a", {**FILES, name: b"x"})
        refuse(path, out, "leads out of the folder")
        refuse(path, out, "leads out of the folder", "set")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(tmp_path, out, kind):
    path = make_tar(tmp_path / "a.tar", {"set/ok": b"ok", "set/l": b"/etc", "set/l/x": b"x"}, **{"set/l": kind})
    refuse(path, out, "is a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip(tmp_path, out, kind):
    path = make_zip(tmp_path / "a.zip", {"set/ok": b"ok", "set/l": b"/etc", "set/l/x": b"x"}, **{"set/l": kind})
    refuse(path, out, "is a link or a device")


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"", b"PK\x03\x04 no", NOISE])
def test_no_archive(tmp_path, out, content):
    (tmp_path / "a.zip").write_bytes(content)
    refuse(tmp_path / "a.zip", out, "is no zip or tar archive; it begins with")


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz"])
@pytest.mark.parametrize("kept", [0.2, 0.6, 0.9])
def test_cut_short(tmp_path, out, mode, kept):
    files = {f"set/{i}": NOISE[i:] for i in range(3)}
    path = make_zip(tmp_path / "a", files) if mode == "zip" else make_tar(tmp_path / "a", files, mode)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=r"damaged|no zip or tar"):
        unpack(path, "", out)


def test_a_tar_cut_between_members(tmp_path, out):
    path = make_tar(tmp_path / "a.tar", {f"set/{i}": bytes(1024) for i in range(3)})
    path.write_bytes(path.read_bytes()[: 2 * (512 + 1024)])
    refuse(path, out, "without the mark of its end")


def test_flipped_bytes_in_a_zip(tmp_path, out):
    path = make_zip(tmp_path / "a.zip", {"set/noise": NOISE})
    content = bytearray(path.read_bytes())
    content[20_000:20_010] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        unpack(path, "", out)


def test_a_member_shorter_than_it_claims(tmp_path, out):
    path = make_zip(tmp_path / "a.zip", {"set/noise": NOISE})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (len(NOISE) + 1).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="does not have the size that it claims"):
        unpack(path, "", out)


def test_a_member_twice(tmp_path, out):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("set/a"))
    with pytest.raises(InputError, match="set/a twice"):
        unpack(path, "", out)


def test_not_what_was_expected(tmp_path, out):
    refuse(make_zip(tmp_path / "a.zip", FILES), out, "has nothing in val2017", "val2017")


def test_too_little_space(tmp_path, out, monkeypatch):
    path = make_zip(tmp_path / "a.zip", {"set/zeros": bytes(1_000_000)})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 900_000}))
    with pytest.raises(NoSpace, match=r"needs 1.0 MB, .* has 0.9 MB free"):
        unpack(path, "", out)
    assert tree(out) == {}


def test_a_filled_folder_is_not_unpacked_into(tmp_path, out):
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="not empty"):
        unpack(make_zip(tmp_path / "a.zip", {"link/x": b"x"}), "", out)
    assert not (tmp_path / "x").exists()


def test_a_bad_archive_is_set_aside(tmp_path):
    file = tmp_path / "downloads" / "a.zip"
    file.parent.mkdir()
    file.write_bytes(b"<html>")
    with pytest.raises(InputError, match=r"it begins with b'<html>'; it is now .*a\.zip\.bad"):
        put(Archive("http://x/a.zip", "place"), file, tmp_path)
    assert tree(tmp_path) == {"downloads/a.zip.bad": b"<html>"}
    assert not (tmp_path / "place").exists()


def test_what_lies_there_is_kept(tmp_path):
    archive = Archive("http://x/a.zip", "place", "set", "images")
    (tmp_path / "downloads").mkdir()
    make_zip(tmp_path / "downloads" / "a.zip", FILES)
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "notes.txt").write_text("mine")
    (tmp_path / "place" / "list.txt").write_text("mine too")
    with pytest.raises(InputError, match=r"place has a list.txt already"):
        download(Benchmark(archives=(archive,)), tmp_path)
    assert tree(tmp_path / "place") == {"notes.txt": b"mine", "list.txt": b"mine too"}
    (tmp_path / "place" / "list.txt").unlink()
    download(Benchmark(archives=(archive,)), tmp_path)
    assert tree(tmp_path / "place").keys() == {"notes.txt", "list.txt", "images/a.jpg", "images/deep/b.jpg"}
    assert archive.is_unpacked(tmp_path)


def test_space_for_archive_and_content(tmp_path, monkeypatch):
    archive = Archive("http://x/a.zip", "place", gigabytes=(2, 3))
    free = {"free": 4_900_000_000}
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), free))
    with pytest.raises(InputError, match=r"needs about 5.0 GB, .* has 4.9 GB free"):
        check_space([archive], tmp_path / "not" / "yet")
    free["free"] = 5_000_000_000
    check_space([archive], tmp_path)
