"""Checkpoints of SAM's decoder: safetensors by transformers, pickles by our own reader, and numbers that are none."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from plain_sam import small_sam
from refinements import refinement_by

from sclip_seg.errors import InputError


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.SamModel(transformers.SamConfig(**small_sam()))
    path = tmp_path_factory.mktemp("sam")
    model.save_pretrained(path)
    torch.save(model.state_dict(), path / "kept.pt")
    return path


def pickled(folder: Path, tmp_path: Path, change: dict) -> str:
    """The checkpoint as transformers used to write it, some of it changed."""
    shutil.copy(folder / "config.json", tmp_path)
    torch.save(torch.load(folder / "kept.pt") | change, tmp_path / "pytorch_model.bin")
    return str(tmp_path)


def refusal(checkpoint: str) -> str:
    with pytest.raises(InputError) as caught:
        refinement_by(checkpoint)
    return str(caught.value)


def test_a_pickle_gives_what_safetensors_give(folder, tmp_path, monkeypatch):
    path = pickled(folder, tmp_path, {})
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    found, expected = refinement_by(path), refinement_by(str(folder))
    assert found.state_dict().keys() == expected.state_dict().keys()
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in expected.state_dict().items())
    assert torch.equal(found.positions, expected.positions)


def test_a_pickle_that_runs_code_is_refused(folder, tmp_path):
    assert "could run code" in refusal(pickled(folder, tmp_path, {"x": Trap(tmp_path / "sprung")}))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(value, folder, tmp_path):
    name = "mask_decoder.iou_token.weight"
    change = {name: torch.full_like(torch.load(folder / "kept.pt")[name], value)}
    assert f"NaN or infinite numbers in 1 tensors, e.g. {name}" in refusal(pickled(folder, tmp_path, change))


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)], ids=str)
def test_another_shape_is_refused(shape, folder, tmp_path):
    assert refusal(pickled(folder, tmp_path, {"mask_decoder.iou_token.weight": torch.ones(shape)}))


@pytest.mark.parametrize("damage", ["cut", "page", "config"])
def test_damaged_folders_are_refused(damage, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "f")
    weights, config = tmp_path / "f/model.safetensors", tmp_path / "f/config.json"
    weights.write_bytes({"cut": weights.read_bytes()[:999], "page": b"<html>"}.get(damage, weights.read_bytes()))
    if damage == "config":
        config.write_text("{")
    assert "unreadable" in refusal(str(tmp_path / "f"))


@pytest.mark.parametrize("options", [dict(fall_back="never"), dict(mask_norm="width")])
def test_unknown_options(options):
    with pytest.raises(InputError, match="released"):
        refinement_by(None, **options)
