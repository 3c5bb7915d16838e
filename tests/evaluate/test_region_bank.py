"""`sclip-seg region-bank`: what it puts down of each region, and a run that looks things up in it."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from runs import result_of, run

from sclip_seg.data.loading import read_picture
from sclip_seg.evaluate import region_bank, region_bank_command
from sclip_seg.regions.bank import RegionBank
from sclip_seg.toy.make import make

CHANGES = {
    "model.short_side": None,
    "model.window.crop": 64,
    "model.window.stride": 32,
    "model.backbone.tail.regions.folder": None,
}
FAST = ("model.text_cache=None", "model.templates=photo", "test_dataloader.num_workers=0")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A working folder with two toy scenes."""
    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=2, seed=0)
    return Path("data/toy/images/val")


@pytest.fixture
def bank(world) -> Path:
    options = [f"{key}={value}" for key, value in CHANGES.items()]
    arguments = [str(world), "--out", "bank.safetensors", "--backbone", "toy", "--auxiliary", "toy"]
    assert region_bank_command.main([*arguments, "--cfg-options", *options]) == 0
    return Path("bank.safetensors")


@torch.no_grad()
def test_keys_and_values_are_means_over_regions(world, bank):
    made = RegionBank.load(bank)
    assert torch.equal(made.values, made.auxiliary)
    model = region_bank.encoder("toy", CHANGES)
    place = 0
    for path in sorted(world.glob("*.png")):
        picture = region_bank.look(model, path)
        ids = picture.regions(model.backbone.tail.regions).ids
        assert tuple(ids.shape) == read_picture(path).shape[:2]
        tiles = torch.stack(
            [model.backbone.tail.scoped(picture.trunk, *w) for w in model.backbone.tail.windows(picture)]
        )
        features = picture.scored(tiles).maps(tuple(ids.shape)).dense().double()
        whole = picture.whole_features(model.backbone.tail.guide).double()
        wide = F.normalize(F.interpolate(whole, tuple(ids.shape), mode="bilinear", align_corners=False)[0], dim=0)
        for number in ids.unique():
            mean = F.normalize(features[:, ids == number].mean(1), dim=0)
            np.testing.assert_allclose(made.values[place].double().numpy(), mean.numpy(), rtol=0, atol=1e-3)
            key = F.normalize(wide[:, ids == number].mean(1), dim=0)
            np.testing.assert_allclose(made.keys[place].double().numpy(), key.numpy(), rtol=0, atol=1e-5)
            place += 1
    assert place == len(made.keys)


def test_a_run_says_what_it_looked_things_up_in(bank):
    arguments = "--dataset", "toy", "--backbone", "toy", "--work-dir"
    assert run("corrclip_v2.py", *arguments, "without", fast=FAST) == 0
    assert (
        run("corrclip_v2.py", *arguments, "with", fast=FAST, options=[f"model.backbone.tail.bank={bank.resolve()}"])
        == 0
    )
    plain, looked = (
        dict(part.split(":", 1) for part in result_of(folder)["signature"].split("|")) for folder in ("without", "with")
    )
    assert "memory" not in plain
    assert looked["memory"].startswith(f"bank#{RegionBank.load(bank).digest}(")
    assert "regions=Felzenszwalb" in looked["memory"]
    assert "bank=bank.safetensors" in looked["tail"]
    assert result_of("with")["per_class"] != result_of("without")["per_class"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--out", "bank.safetensors"], "no pictures in nowhere"),
        (["data/toy/images/val", "--out", "bank.pt"], "--out bank.pt is to be a .safetensors file"),
        (["data/toy/images/val", "--out", "bank.safetensors", "--backbone", "toys"], "no backbone 'toys'"),
    ],
)
def test_mistakes_are_a_line(arguments, message, world, capsys):
    assert region_bank_command.main(arguments) == 2
    assert message in capsys.readouterr().err
