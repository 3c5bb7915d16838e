"""Published figures: the files keep their schema, say what the documentation says, and faults are named."""

import re
from pathlib import Path

import pytest
import yaml

from sclip_seg.config import choices
from sclip_seg.errors import InputError
from sclip_seg.evaluate.published_figures import figures, load

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "measurements" / "figures.md"
# Windows are ours for CLIPtrase; of LPOSS+ and both RADSegs a mean over the benchmarks is all that was found.
METHODS = {*choices(ROOT / "configs")["method"]} - {"cliptrase_windows", "lposs_plus", "radseg", "radseg_plus"}
COLUMNS = ("voc21", "context60", "coco_object", "voc20", "cityscapes", "context59", "ade20k", "coco_stuff164k")
# A row of the page by its first cell and the beginning of its source: method, protocol, variant, source.
ROWS = {
    ("CLIP", "SCLIP's table"): ("clip", "sclip", None, "SCLIP's table"),
    ("MaskCLIP", "the same"): ("maskclip", "sclip", None, "SCLIP's table"),
    ("MaskCLIP", "MaskCLIP README"): ("maskclip", "own", None, "MaskCLIP README"),
    ("SCLIP", "SCLIP's table"): ("sclip", "sclip", None, "SCLIP's table, as quoted by DeCLIP"),
    ("SCLIP", "SCLIP README"): ("sclip", "sclip", None, "SCLIP README"),
    ("ClearCLIP", "ClearCLIP README"): ("clearclip", "own", None, ""),
    ("NACLIP + PAMR", "NACLIP README"): ("naclip", "own", None, "NACLIP README"),
    ("NACLIP", "as quoted by PH-Reg"): ("naclip", "no PAMR", None, "PH-Reg"),
    ("CLIP Surgery", "its README"): ("clip_surgery", "not published", None, "CLIP Surgery README"),
    ("GEM", "ClearCLIP README"): ("gem", "clearclip harness", None, "ClearCLIP README"),
    ("GEM", "GEM's paper"): ("gem", "not published", None, "GEM's paper"),
    ("ResCLIP, NACLIP base", "ResCLIP README"): ("resclip", "own", None, "ResCLIP README"),
    ("ResCLIP, SCLIP base", "the same"): ("resclip", "own", "base: sclip", "ResCLIP README"),
    ("ResCLIP, ClearCLIP base", "the same"): ("resclip", "own", "base: clearclip", "ResCLIP README"),
    ("SC-CLIP", "as quoted by RF-CLIP"): ("scclip", "own", None, "as quoted by RF-CLIP"),
    ("ProxyCLIP, DINO B/8", "as reprinted by Trident"): ("proxyclip", "own", None, "as reprinted in Trident"),
    ("ProxyCLIP, DINOv2-reg B/14", "as"): ("proxyclip", "own", "guide: DINOv2-reg B/14", "as reprinted by ActiveSAM"),
    ("ProxyCLIP, SAM B", "as"): ("proxyclip", "own", "guide: SAM B", "as reprinted by DIH-CLIP"),
    ("Trident, with refinement", "Trident README"): ("trident", "own", None, "Trident README"),
    ("ITACLIP", "ITACLIP README"): ("itaclip", "own", None, "ITACLIP README"),
    ("LPOSS, LAION-2B", "as reprinted by ActiveSAM"): ("lposs", "own", None, "as reprinted by ActiveSAM"),
    ("SFP (released code)", "as measured by PEARL's"): ("sfp", "released code", None, "PEARL README"),
    ("SFP, its paper", "as reprinted by ActiveSAM"): ("sfp", "paper", None, "as reprinted by ActiveSAM"),
    ("DIH-CLIP", "DIH-CLIP README"): ("dih_clip", "own", None, "DIH-CLIP README"),
    ("GLA-CLIP", "GLA-CLIP's paper"): ("gla_clip", "own", None, "GLA-CLIP's paper"),
    ("CLIPer, no Stable Diffusion", "CLIPer README"): ("cliper", "own", None, "CLIPer README"),
    ("PEARL", "PEARL README"): ("pearl", "own", None, "PEARL README"),
    ("CASS", "as reprinted by ActiveSAM"): ("cass", "own", None, "as reprinted by ActiveSAM"),
    ("RF-CLIP", "as noted"): ("rfclip", "own", None, "as noted by third parties"),
    ("CorrCLIP, MetaCLIP, SAM 2", "CorrCLIP README"): ("corrclip", "own", None, "CorrCLIP README"),
    ("CorrCLIPv2, MetaCLIP, no bank", "CorrCLIPv2 README"): ("corrclip_v2", "own", None, "CorrCLIPv2 README"),
}
BACKBONES = dict(lposs="laion2b_vit_b16", corrclip="metaclip_vit_b16", corrclip_v2="metaclip_vit_b16")
ENTRY = {"backbone": "openai_vit_b16", "dataset": "voc21", "miou": 59.1, "protocol": "sclip", "source": "a table"}


def rows_of_the_page():
    """First cell, source and the eight values (or None) of each row of the table of figures."""
    table = PAGE.read_text().split("| row | VOC21 |", 1)[1].split("\n\n", 1)[0]
    for line in table.splitlines()[2:]:
        name, *values, source, _ = (cell.strip() for cell in line.strip("|").split("|"))
        yield name, source, [float(value) if value else None for value in values]


def test_figures_are_those_of_the_page():
    compared = 0
    for name, source, values in rows_of_the_page():
        (key,) = [key for key in ROWS if key[0] == name and source.startswith(key[1])]
        method, protocol, variant, origin = ROWS[key]
        for dataset, value in zip(COLUMNS, values, strict=True):
            if value is None:
                continue
            found = [
                figure.miou
                for figure in figures(method, BACKBONES.get(method, "openai_vit_b16"), dataset)
                if (figure.protocol, figure.variant) == (protocol, variant) and figure.source.startswith(origin)
            ]
            assert value in found, (name, dataset, value, found)
            compared += 1
    assert compared >= 120


def test_cliptrase_figures_are_those_of_the_page():
    text = " ".join(PAGE.read_text().split())
    names = {"VOC20": "voc20", "Context59": "context59", "ADE20K": "ade20k", "COCO-Stuff": "coco_stuff164k"}
    names |= {"VOC21": "voc21", "Context60": "context60", "COCO-Object": "coco_object"}
    sentence = text.split("CLIPtrase, by its own protocol", 1)[1].split("Measured here")[0]
    for name, dataset in names.items():
        value = float(re.search(rf"{name} (\d+\.\d+)", sentence)[1])
        own = [f.miou for f in figures("cliptrase", "openai_vit_b16", dataset) if f.variant is None and f.comparable]
        assert own[0] == value


def test_every_method_has_figures():
    assert {figure.method for figure in load()} == METHODS


def test_no_figure_stands_twice():
    every = load()
    assert len(every) == len(set(every))


def test_sources_that_differ_both_stand():
    found = {f.source: f.miou for f in figures("sclip", "openai_vit_b16", "coco_object") if f.comparable}
    assert {30.5, 33.52} <= set(found.values())


@pytest.mark.parametrize(("method", "follows"), [("clip", "sclip"), ("naclip", "own"), ("gem", None)])
def test_comparable_is_what_the_config_follows(method, follows):
    own = [figure for figure in load() if figure.method == method]
    assert {figure.protocol for figure in own if figure.comparable} == ({follows} if follows else set())
    assert any(not figure.comparable for figure in own)


def write(folder, *entries, name="sclip", follows="sclip"):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump({"follows": follows, "figures": list(entries)}))


def test_load_reads_what_is_written(tmp_path):
    write(tmp_path, ENTRY, ENTRY | {"variant": "qq", "miou": 58, "protocol": "other"})
    plain, other = load(tmp_path)
    assert (plain.method, plain.miou, plain.variant, plain.comparable) == ("sclip", 59.1, None, True)
    assert (other.miou, other.variant, other.comparable) == (58.0, "qq", False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mIoU": 1}, "unknown key 'mIoU'"),
        ({"backbone": "openai_vit_b61"}, "no backbone 'openai_vit_b61'; did you mean openai_vit_b16"),
        ({"dataset": "voc22"}, "no dataset 'voc22'"),
        ({"dataset": ["voc21"]}, "no dataset"),
        ({"miou": 100.1}, "0 to 100"),
        ({"miou": -1}, "0 to 100"),
        ({"miou": "59.1"}, "0 to 100"),
        ({"miou": True}, "0 to 100"),
        ({"miou": float("nan")}, "0 to 100"),
        ({"source": None}, "lacks 'source'"),
        ({"source": ""}, "lacks 'source'"),
        ({"source": "  "}, "must be a text"),
        ({"protocol": 3}, "must be a text"),
        ({"variant": 8}, "must be a text"),
    ],
)
def test_fault_names_file_and_entry(change, message, tmp_path):
    write(tmp_path, ENTRY, ENTRY | change)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path)
    assert f"{tmp_path / 'sclip.yaml'}, entry 2" in str(caught.value)


@pytest.mark.parametrize("key", sorted(ENTRY))
def test_absent_key_is_named(key, tmp_path):
    write(tmp_path, {k: v for k, v in ENTRY.items() if k != key})
    with pytest.raises(InputError, match=f"entry 1 lacks '{key}'"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("figures: [", "no YAML"),
        ("- 1\n", "must have the keys"),
        ("follows: sclip\nfigures: []\n", "a list of entries"),
        ("follows: sclip\nfigures: [3]\n", "entry 1 is no mapping"),
        ("figures: []\n", "must have the keys"),
    ],
)
def test_broken_file_is_named(text, message, tmp_path):
    (tmp_path / "sclip.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path)
    assert str(tmp_path / "sclip.yaml") in str(caught.value)


def test_unknown_method_followed_protocol_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match="no published figures"):
        load(tmp_path)
    write(tmp_path, ENTRY, follows="sclp")
    with pytest.raises(InputError, match="'sclp'; did you mean sclip"):
        load(tmp_path)
    (tmp_path / "sclip.yaml").unlink()
    write(tmp_path, ENTRY, name="sklip")
    with pytest.raises(InputError, match="no method 'sklip'; did you mean sclip"):
        load(tmp_path)
