"""`sclip-seg parity DIR` takes its cases from the files of a folder, says what it does not know, and finds what is off.

The folders are made here, with a recipe of their own (`made_parity`).
"""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_parity import RECIPE, features, make, reference_of, stored

from sclip_seg.config import CONFIGS, load_config
from sclip_seg.measure.parity.segmentors import segmented, segmentor
from sclip_seg.measure.parity.trident import OWN, canvas_of
from sclip_seg.measure.parity.visual import last_block
from sclip_seg.measure.parity_command import main
from sclip_seg.towers.guide import LastAttention

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
RESCLIP = dict(type="ResCLIP", rcs_scale=2.0)


@pytest.fixture
def folder(tmp_path):
    """With NACLIP on inputs that nobody listed, and options in keys."""
    folder = make(tmp_path / "made")
    reduced = last_block("naclip", False, False)
    with reference_of(folder) as reference:
        arrays = stored("tall", features(reference, "tall", tail=reduced))
        arrays |= stored("odd", features(reference, "odd", tail=reduced))
        narrow = reduced | dict(attention=dict(type="naclip", sigma=1.5))
        arrays |= stored("sigma1.5.small", features(reference, "small", tail=narrow))
        arrays |= stored("heads4.small", features(reference, "small", tail=reduced, heads=4))
    np.savez(folder / "visual_naclip.npz", **arrays)
    return folder


def run(folder, capsys):
    """Exit status and lines."""
    status = main([str(folder)])
    told = capsys.readouterr()
    return status, told.out.splitlines(), told.err


def change(path, **arrays):
    """Puts arrays into a file."""
    with np.load(path) as held:
        np.savez(path, **dict(held) | arrays)


def test_cases_are_the_file_s_keys(folder, capsys):
    status, lines, _ = run(folder, capsys)
    assert status == 0
    assert {line.split("  ")[1].strip() for line in lines[:-1]} == {
        f"naclip {key}{what}" for key in ("tall", "odd", "sigma1.5.small", "heads4.small") for what in ("", " probes")
    }
    assert lines[-1] == "8 of 8 cases within tolerance"


def test_a_formula_of_our_own_is_met_and_another_is_not(tmp_path, capsys):
    """q-q attention alone, with the numbers of the recipe's weights."""
    folder = make(tmp_path / "made")
    with reference_of(folder) as reference:
        backbone = reference.backbone(last_block("qq", False, False))
        state = reference.recipe.tiny_state_dict()
        x = backbone.trace(reference.input("tall")).before(-1)[0]
    own = {name.rpartition("resblocks.11.")[2]: value for name, value in state.items() if "visual" in name}
    t = F.layer_norm(x, (32,), own["ln_1.weight"], own["ln_1.bias"])
    q, _, v = (t @ own["attn.in_proj_weight"].T + own["attn.in_proj_bias"]).chunk(3, dim=1)
    heads = [(q[:, h : h + 16] @ q[:, h : h + 16].T / 4).softmax(1) @ v[:, h : h + 16] for h in (0, 16)]
    out = torch.cat(heads, dim=1) @ own["attn.out_proj.weight"].T + own["attn.out_proj.bias"]
    out = F.layer_norm(out, (32,), state["visual.ln_post.weight"], state["visual.ln_post.bias"])
    unit = F.normalize((out @ state["visual.proj"])[1:], dim=1)
    np.savez(folder / "visual_clearclip.npz", **stored("tall", unit))
    np.savez(folder / "visual_clearclip_full.npz", **stored("tall", unit))
    status, lines, _ = run(folder, capsys)
    assert status == 1
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["ok", "clearclip"],
        ["ok", "clearclip"],
        ["FAIL", "clearclip_full"],
        ["FAIL", "clearclip_full"],
    ]


def test_a_wrong_value_fails(folder, capsys):
    with np.load(folder / "visual_naclip.npz") as arrays:
        wrong = arrays["tall"].copy()
    wrong[3, 2] += 1e-3
    change(folder / "visual_naclip.npz", tall=wrong)
    status, lines, _ = run(folder, capsys)
    assert status == 1
    (line,) = [line for line in lines if line.startswith("FAIL")]
    assert line.split()[1:4] == ["naclip", "tall", "1.00e-03"]
    assert lines[-1] == "7 of 8 cases within tolerance"


def test_no_number_is_within_no_tolerance(folder, capsys):
    change(folder / "visual_naclip.npz", tall=np.full((8, 16), np.nan, np.float32))
    status, lines, _ = run(folder, capsys)
    assert status == 1
    assert [line.split()[1:3] for line in lines if line.startswith("FAIL")] == [["naclip", "tall"]]


def test_what_is_unknown_is_named_and_fails_nothing(folder, capsys):
    for name in ("visual_unheard", "visual_naclip_frobnicated", "e2e_unheard_voc21", "e2e_proxyclip_voc21", "other"):
        np.savez(folder / f"{name}.npz", square=np.zeros(3))
    odd = np.zeros((3, 16), np.float32)
    change(folder / "visual_naclip.npz", **{"tall.entropy": odd, "frob0.5.small": odd, "frob0.5.small.probe": odd})
    status, lines, _ = run(folder, capsys)
    assert status == 0
    assert [line.partition(" (")[0] for line in lines if line.startswith("unknown")] == [
        "unknown: e2e_proxyclip_voc21.npz",
        "unknown: e2e_unheard_voc21.npz",
        "unknown: other.npz",
        "unknown: visual_naclip.npz frob0.5.small",
        "unknown: visual_naclip.npz frob0.5.small.probe",
        "unknown: visual_naclip.npz tall.entropy",
        "unknown: visual_naclip_frobnicated.npz",
        "unknown: visual_unheard.npz",
    ]
    assert lines[-1] == "8 of 8 cases within tolerance; 5 files and 3 keys are not known"


def test_a_broken_case_does_not_stop_the_others(folder, capsys):
    fine = np.zeros((8, 16), np.float32)
    change(folder / "visual_naclip.npz", nowhere=fine, odd=fine[:, :3])
    np.savez(folder / "visual_sclip.npz", small=np.array([{"a": 1}], dtype=object), odd=fine)
    (folder / "visual_vanilla.npz").write_text("no archive")
    (folder / "photos").mkdir()
    np.savez(folder / "e2e_maskclip_toy.npz", **{"absent.label": np.zeros((4, 4), np.uint8)})
    status, lines, _ = run(folder, capsys)
    assert status == 1
    failed = "\n".join(line for line in lines if line.startswith("FAIL"))
    for told in (
        "recipe.py makes no input 'nowhere' (KeyError: 'nowhere')",
        "naclip odd                                       ValueError: shapes differ: ours (7, 16), theirs (8, 3)",
        "allow_pickle",
        "visual_vanilla",
        "there is no photo 'absent'",
    ):
        assert told in failed
    assert sum(line.startswith("ok") for line in lines) == 6  # two of `tall` and of each option's
    assert "Traceback" not in failed


def test_refused_in_words(tmp_path, capsys):
    for text, told in (
        (None, "recipe.py is missing"),
        ("1 / 0", "recipe.py does not load: ZeroDivisionError"),
        ("EMB = 3", "recipe.py makes no tower: AttributeError"),
        (RECIPE, "holds no file that is known"),
    ):
        if text:
            (tmp_path / "recipe.py").write_text(text)
        np.savez(tmp_path / "other.npz", a=np.zeros(1))
        status, _, err = run(tmp_path, capsys)
        assert status == 2
        assert len(err.splitlines()) == 1
        assert told in err
    np.savez(tmp_path / "visual_naclip_frobnicated.npz", a=np.zeros(1))
    status, lines, err = run(tmp_path, capsys)
    assert status == 2
    assert "holds no case that is known" in err
    assert any("frobnicated" in line for line in lines)
    assert main([str(tmp_path), "--device", "nowhere"]) == 2


def test_resclip_on_another_dataset_and_scclip_with_other_blocks(tmp_path, capsys):
    folder = make(tmp_path / "made")
    tuned = load_config(CONFIGS / "resclip.py", "ade20k").model.backbone.tail
    constants = {key: tuned[key] for key in ("rcs", "sfr", "sfr_scale", "threshold")}
    with reference_of(folder) as reference:
        small = features(reference, "small", tail=RESCLIP | constants)
        np.savez(folder / "visual_resclip_ade20k_fp32.npz", **stored("small", small))
        other = features(reference, "small", tail=RESCLIP | dict(rcs=0.45, sfr=None, base="vanilla"))
        np.savez(folder / "visual_resclip_rcs.npz", **stored("vanilla.lam0.45.small", other))
        later = dict(type="SCCLIP", mid=6, post=4, fused=(4, 5), class_weight=0.2)
        calibrated = features(reference, "small", tail=later)
        np.savez(folder / "visual_scclip.npz", **stored("pre5_post3_multi3-5_rho0.2.small", calibrated))
        deep = features(reference, "odd", tail=dict(type="GEM", blocks=3, temperature=5.5), positions="gem")
        np.savez(folder / "visual_gem_depth4_temp5.5.npz", **stored("odd", deep))
    status, lines, _ = run(folder, capsys)
    assert status == 0, lines
    assert lines[-1] == "8 of 8 cases within tolerance"


def test_guides_of_any_name_on_any_grid(tmp_path, capsys):
    folder = make(tmp_path / "made")
    with reference_of(folder) as reference:
        given = dict(type="ProxyCLIP", guide=dict(type="GivenGuide"), beta=0.9)
        reference.backbone(given).tail.guide.features = reference.recipe.tiny_guide("mine", 48, 9, 6)
        arrays = stored("beta0.9.tall+mine", features(reference, "tall", tail=given))
        np.savez(folder / "visual_proxyclip.npz", **arrays, **{"tall": np.zeros((2, 2))})
    status, lines, _ = run(folder, capsys)
    assert status == 1
    assert [line.split()[0] for line in lines[:3]] == ["ok", "ok", "FAIL"]
    assert "tall names no guide" in lines[2]


def test_trident_finds_the_guides_that_its_figures_were_made_with(tmp_path, monkeypatch, capsys):
    folder = make(tmp_path / "made")
    monkeypatch.setattr("sclip_seg.measure.parity.trident.CROP", 96)
    monkeypatch.setattr("sclip_seg.measure.parity.trident.STRIDE", 64)
    monkeypatch.setattr("sclip_seg.measure.parity.trident.GRID", 6)
    with reference_of(folder) as reference:
        cells, trace = canvas_of(reference, "c")
        attention, values = reference.recipe.tiny_sam()
        last = LastAttention(values.shape[2:4], values[0].flatten(1, 2), attention[0].__getitem__)
        tail = reference.backbone(**OWN).tail
        arrays = {}
        for name, factor in (("default", 1.2), ("cos_fac0.5", 0.5)):
            tail.cos_fac = factor
            unit = F.normalize(trace.joint(tail.aggregate(cells, last)[None])[0], dim=1)
            arrays |= stored(name, unit)
    np.savez(folder / "visual_trident.npz", **arrays, strange=np.zeros((10, 16), np.float32))
    status, lines, _ = run(folder, capsys)
    assert status == 0, lines
    assert lines[-1] == "4 of 4 cases within tolerance; 1 key is not known"


def test_photos_and_strides_of_whole_segmentors(tmp_path, capsys):
    """Two photos in one file; of two of one name and size, the one that the recipe draws; every n-th pixel."""
    folder = make(tmp_path / "made")
    (folder / "photos").mkdir()
    generator = np.random.default_rng(0)
    with reference_of(folder) as reference:
        drawn = reference.recipe.tiny_photo().numpy()[:, :, ::-1]
        other, larger = (generator.integers(0, 256, size, dtype=np.uint8) for size in ((40, 60, 3), (44, 52, 3)))
        for name, picture in (("one_a", other), ("one_b", drawn), ("two", larger), ("two_small", other)):
            cv2.imwrite(str(folder / "photos" / f"{name}.png"), picture)
        model = segmentor(reference, "naclip", "toy")
        arrays = {"text": model.text.features.numpy(), "query_idx": model.text.owner.numpy().astype(np.int16)}
        for photo, name, step in (("one_b", "one", 7), ("two", "two", 5)):
            seen = segmented(model, folder / "photos" / f"{photo}.png", lambda classes: classes / classes.sum(0))
            arrays[f"{name}.label"] = seen.labels.numpy().astype(np.uint8)
            arrays[f"{name}.best"] = seen.probabilities.argmax(0).numpy().astype(np.uint8)
            arrays[f"{name}.maxprob"] = seen.published.amax(0)[::step, ::step].numpy()
            arrays[f"{name}.logits"] = seen.maps.dense()[:, ::step, ::step].numpy()
    np.savez(folder / "e2e_naclip_toy.npz", **arrays)
    status, lines, _ = run(folder, capsys)
    assert status == 0, lines
    assert lines[-1] == "10 of 10 cases within tolerance"
    sure = seen.sure
    turned = arrays["two.label"].copy()
    turned[tuple(np.argwhere(sure)[0])] += 1
    change(folder / "e2e_naclip_toy.npz", **{"two.label": turned})
    status, lines, _ = run(folder, capsys)
    assert status == 1
    (line,) = [line for line in lines if line.startswith("FAIL")]
    assert "naclip on toy, two: wrong labels where sure" in line
