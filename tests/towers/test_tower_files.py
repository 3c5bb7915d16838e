"""Weights of timm towers in the layouts that they are published in, small; the table of towers; times to refuse."""

import json
import time
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tiny_towers import KINDS, PLAIN, build, config_of, tiny_timm

from sclip_seg.errors import InputError
from sclip_seg.evaluate import listing
from sclip_seg.measure.parity import reference
from sclip_seg.towers import weights
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.kinds import outline, refuse_unread
from sclip_seg.towers.radio import SHAPES


def saved(dense: DenseCLIP, path, change=lambda state: state):
    state = change({name: tensor.clone() for name, tensor in dense.clip.state_dict().items()})
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return str(path)


def apart(state: dict) -> dict:
    """As before open_clip had text towers of their own."""
    return {name.removeprefix("text."): tensor for name, tensor in state.items()}


def in_training(state: dict) -> dict:
    return {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}


@pytest.mark.filterwarnings("ignore:.*does not say how:UserWarning")
@pytest.mark.parametrize("change", [dict, apart, in_training], ids=["hub", "text not apart", "training"])
@pytest.mark.parametrize("kind", ["siglip", "pe", "eva02", "mean"])
def test_a_file_is_read(kind, change, tmp_path, pictures):
    donor, image = build(kind), pictures(1, 32, 32)
    donor.digest = weights.digest(donor.clip)
    path = saved(donor, tmp_path / ("w.pt" if change is in_training else "w.safetensors"), change)
    with tiny_timm(kind):
        dense = DenseCLIP(donor.arch, path, PLAIN)
    assert dense.digest == donor.digest
    assert torch.equal(dense(image), donor(image))


@pytest.mark.parametrize("kind", ["siglip", "eva02"])
def test_a_folder_as_the_hub_has_it_is_read_by_its_config(kind, register, tmp_path):
    donor = build(kind)
    saved(donor, tmp_path / "open_clip_model.safetensors")
    content = {"model_cfg": config_of(kind), "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    register(donor.arch, config_of(kind))
    with tiny_timm(kind):
        dense = DenseCLIP(f"local-dir:{tmp_path}", None, PLAIN, quick_gelu="known")
    assert (dense.inputs.act, dense.inputs.pixels) == ("gelu(config)", "inception(config)")
    assert torch.equal(dense.clip.logit_scale, donor.clip.logit_scale)


def test_other_towers_weights_are_refused_in_words(tmp_path, tiny):
    siglip = saved(build("siglip"), tmp_path / "siglip.safetensors")
    with pytest.raises(InputError, match="open_clip's layout of a timm tower"):
        DenseCLIP(tiny, siglip, PLAIN)
    arch = build("eva02").arch
    with tiny_timm("eva02"), pytest.raises(InputError, match="does not fit tiny eva02"):
        DenseCLIP(arch, siglip, PLAIN)


def test_a_logit_bias_of_one_entry_is_read(tmp_path, register):
    config = config_of("siglip") | {"init_logit_bias": -10}
    arch = register("tiny biased", config)
    with tiny_timm("siglip"):
        donor = DenseCLIP(arch, None, PLAIN)
        path = saved(donor, tmp_path / "w.pt", lambda s: s | {"logit_bias": torch.tensor([-3.0])})
        with pytest.warns(UserWarning, match="does not say how"):
            dense = DenseCLIP(arch, path, PLAIN)
    assert dense.clip.logit_bias == -3.0
    assert dense.clip.logit_bias.ndim == 0


def test_the_table_is_of_every_architecture():
    """Made by `sclip-seg towers --write`, with the open_clip that is pinned."""
    rows = {row["arch"]: row for row in listing.towers()}
    own = {path.stem for path in Path(open_clip.__file__).parent.glob("model_configs/*.json")}
    shipped = {name for name in SHAPES if name != reference.RADIO}  # which parity adds
    assert rows.keys() - {*open_clip.list_models()} == shipped
    assert own <= rows.keys()
    assert {row["read"] for row in rows.values()} <= {"yes", "no", "untried"}
    assert sum(row["read"] == "yes" for row in rows.values()) > 100


def test_the_table_says_what_is_said():
    for row in listing.towers():
        config = open_clip.get_model_config(row["arch"])
        if row["read"] == "no":
            with pytest.raises(InputError) as caught:
                refuse_unread(row["arch"], config)
            assert str(caught.value) == row["said"]
        elif config is None or "timm_model_name" not in config["vision_cfg"]:  # the others take a while
            found = outline(row["arch"])
            told = found.kind, str(found.depth), str(found.patch), found.pooling
            assert told == (row["kind"], row["blocks"], row["patch"], row["pooling"])


@pytest.mark.parametrize(
    ("arch", "tail"), [("ViT-SO400M-14-SigLIP2", "SFP"), ("PE-Core-bigG-14-448", "SCCLIP"), ("MobileCLIP2-S4", "GEM")]
)
def test_a_cell_that_cannot_be_is_refused_at_once(arch, tail):
    start = time.process_time()
    with pytest.raises(InputError, match=arch):
        DenseCLIP(arch, None, dict(type=tail))
    assert time.process_time() - start < 3  # a third of a second, on a machine that does nothing else


def test_every_kind_has_a_config():
    assert all(config_of(kind)["vision_cfg"]["timm_model_name"] for kind in KINDS)
