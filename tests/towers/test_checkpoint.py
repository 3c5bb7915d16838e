"""Weights files read as data: what torch wrote comes out as torch reads it, and other files are named."""

import argparse
import contextlib
import gzip
import io
import tarfile
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from weight_files import Tower, rewritten, saved

from sclip_seg.errors import InputError
from sclip_seg.towers import checkpoint
from sclip_seg.towers.checkpoint import read

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit")
SETTINGS = ("input_resolution", "context_length", "vocab_size")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        torch.testing.assert_close(found[name], tensor.detach(), rtol=0, atol=0, equal_nan=True, msg=name)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert "weights_only" not in message
    return message.replace(str(path), "")


@pytest.mark.parametrize("kind", ["scripted", "traced"])
def test_an_archive_gives_what_torch_reads_in_it(kind, tmp_path):
    torch.manual_seed(0)
    model, path = Tower().eval(), tmp_path / "a.pt"
    made = torch.jit.script(model) if kind == "scripted" else torch.jit.trace(model, torch.randn(1, 3, 4, 4))
    made.save(path)
    expected = {k: v for k, v in torch.jit.load(path).state_dict().items() if k not in SETTINGS}
    found = read(path)
    assert found.openai
    assert_same(found.state, expected)


def test_an_archive_without_openais_settings_is_no_openais(tmp_path):
    torch.jit.script(nn.Linear(2, 3)).save(tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert not found.openai
    assert set(found.state) == {"weight", "bias"}


@given(
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from(DTYPES),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_any_tensor_is_read_as_torch_reads_it(size, dtype, legacy, turned, skipped):
    base = (torch.randn(skipped + int(np.prod(size, dtype=int))) * 3).to(dtype)
    tensor = base[skipped:].view(size)
    tensor = tensor.transpose(0, -1) if turned and size else tensor
    content = saved(
        {"a": tensor, "whole": base, "b": nn.Parameter(torch.ones(2))}, _use_new_zipfile_serialization=not legacy
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.pt")
        path.write_bytes(content)
        found = read(path).state
        assert_same(found, torch.load(path, weights_only=True))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_training_checkpoint_is_read_with_all_that_lies_about(legacy, tmp_path):
    parameter = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([parameter], lr=np.float64(1e-3))
    parameter.sum().backward()
    optimizer.step()
    content = {
        "state_dict": OrderedDict(a=torch.ones(2), b=parameter),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=np.float32(0.1), path=Path("x"), device=torch.device("cpu"), dtype=torch.float16),
        "random": (np.random.default_rng(0).bit_generator.state, np.arange(3), torch.get_rng_state()),
        "best": np.float64(0.3),
        "flag": np.bool_(True),
        "sets": {1, 2},
        "size": torch.Size([1, 2]),
    }
    path = tmp_path / "epoch.pt"
    path.write_bytes(saved(content, _use_new_zipfile_serialization=not legacy))
    assert_same(read(path).state, {"a": torch.ones(2), "b": parameter.detach()})


@pytest.mark.parametrize("place", checkpoint.PLACES)
def test_the_state_dict_is_found_where_scripts_put_it(place, tmp_path):
    torch.save({"epoch": 1, place: {"a": torch.ones(2)}, "other": {"x": 1}}, tmp_path / "a.pt")
    assert set(read(tmp_path / "a.pt").state) == {"a"}


def test_moving_averages_are_read_where_they_are_asked_for(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2)}, "state_dict_ema": {"a": torch.zeros(2)}}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt").state["a"].sum() == 2
    assert read(tmp_path / "a.pt", checkpoint.AVERAGES).state["a"].sum() == 0


def test_shards_are_read_together(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "two.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}')
    assert set(read(index).state) == {"a", "b"}
    for text, said in (
        ('{"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}}', "lack, e.g. c"),
        ('{"weight_map": {"a": "three.safetensors"}}', "three.safetensors, which is not there"),
        ('{"weight_map": {"a": "../one.safetensors"}}', "lie beside it"),
        ('{"weight_map": {"a": "model.safetensors.index.json"}}', "lie beside it"),
        ('{"weight_map": [1]}', "no weight_map"),
        ("{", "no readable weights"),
    ):
        index.write_text(text)
        assert said in refusal(index)


def others() -> dict[str, tuple[bytes, str]]:
    """Files that are no weights: name -> content, and what the message must say."""
    tar, npz, zipped = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    np.savez(npz, a=np.ones(2))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("model.safetensors", b"x")
    npy = io.BytesIO()
    np.save(npy, np.ones(2))
    whole = saved({"a": torch.ones(1000)})
    return {
        "empty.pt": (b"", "empty"),
        "lfs.safetensors": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        "page.pt": (b"\n<!DOCTYPE html><html></html>", "web page"),
        "denied.bin": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "web page"),
        "answer.pt": (b'{"error": "Repository not found"}', "JSON"),
        "words.pt": (b"Not Found\n", "text that begins 'Not Found'"),
        "a.npy": (npy.getvalue(), "NumPy array"),
        "a.npz": (npz.getvalue(), "NumPy archive"),
        "a.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        "a.gguf": (b"GGUF\x03\0\0\0", "GGUF"),
        "a.onnx": (b"\x08\x08\x12\x07pytorch" + bytes(20), "ONNX"),
        "a.pb": (b"\n\x05\x12\x01\xff\xfe" * 9, "TensorFlow"),
        "a.msgpack": (b"\x81\xa6params\x85\xff", "Flax"),
        "a.pt.gz": (gzip.compress(whole), "gzip"),
        "a.tar": (tar.getvalue(), "tar archive"),
        "a.zip": (zipped.getvalue(), "zip archive of other things (model.safetensors)"),
        "zeros.pt": (bytes(5000), "zeros"),
        "cut.pt": (whole[:2000], "cut short"),
        "cut.safetensors": (b"\x40\0\0\0\0\0\0\0{" + b" " * 20, "cut short"),
        "plain.pkl": (b"\x80\x04}.", "pickle that torch did not write"),
        "noise.pt": (bytes(range(256)) * 4, "neither safetensors nor"),
    }


@pytest.mark.parametrize("name", others())
def test_a_file_of_another_kind_is_named(name, tmp_path):
    content, said = others()[name]
    (tmp_path / name).write_bytes(content)
    assert said in refusal(tmp_path / name)


@pytest.mark.parametrize("writer", ["zip", "legacy", "safetensors", "script"])
@given(share=st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_one_line(writer, share, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "a.pt"
    if writer == "safetensors":
        save_file({"a": torch.ones(99)}, path)
    elif writer == "script":
        torch.jit.script(nn.Linear(2, 3)).save(path)
    else:
        path.write_bytes(saved({"a": torch.ones(99)}, _use_new_zipfile_serialization=writer == "zip"))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refusal(path)


@given(at=st.floats(0, 0.999), byte=st.integers(0, 255), legacy=st.booleans())
def test_a_damaged_file_is_read_or_one_line(at, byte, legacy, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / "a.pt"
    content = bytearray(saved({"a": torch.ones(9), "b": {"c": [1, "x"]}}, _use_new_zipfile_serialization=not legacy))
    content[int(at * len(content))] = byte
    path.write_bytes(content)
    with contextlib.suppress(InputError):  # and nothing else
        read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "no state dict"),
        ({"epoch": 3}, "no state dict"),
        ({"a": torch.ones(2), "b": [1.0, 2.0]}, "'b', a list"),
        ({"a": torch.ones(2), "b": np.ones(2)}, "'b', a numpy"),
        ({"a": torch.ones(2), "b": {"c": torch.ones(2)}}, "'b', a dict"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear), which is code"),
        ({"model": nn.Linear(2, 2), "a": torch.ones(1)}, "which is code"),
        ({"a": torch.ones(2).to_sparse(), "b": torch.ones(2)}, "'a', a torch._utils._rebuild_sparse_tensor"),
    ],
    ids=str,
)
def test_what_is_no_state_dict_is_named(content, said, tmp_path):
    for legacy in (False, True):
        (tmp_path / "a.pt").write_bytes(saved(content, _use_new_zipfile_serialization=not legacy))
        assert said in refusal(tmp_path / "a.pt")


def test_a_checksum_that_torch_left_out_is_not_missed(tmp_path):
    if not hasattr(torch.serialization, "set_crc32_options"):
        pytest.skip("this torch always writes checksums")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read(tmp_path / "a.pt").state["a"].sum() == 2


def test_the_other_byte_order_is_refused(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    assert "byte order" in refusal(rewritten(tmp_path / "a.pt", tmp_path / "b.pt", {"byteorder": b"big"}))
