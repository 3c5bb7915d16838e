"""What readers of a file's names and keys are given to work with."""

from functools import partial

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from made_parity import features, make, reference_of, stored

from sclip_seg.measure.parity import reading
from sclip_seg.measure.parity.compare import examine
from sclip_seg.measure.parity.names import options
from sclip_seg.measure.parity.outcome import Outcome, Unknown, gap
from sclip_seg.measure.parity.visual import compared, last_block

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")


def test_a_reader_of_a_stage_s_own(tmp_path, monkeypatch):
    """Cases by the prefix of a key, options after it share its inputs, what is risky is left out."""
    monkeypatch.setattr(reading, "READERS", {})

    @reading.reads("stage_doubled")
    def read(reference, file):
        for group in file.grouped(("input", "out", "out.sum", "risky")):
            yield group.check("stage", f"doubled {group.head}", group.keys, partial(doubled, group))

    def doubled(group):
        factor = options(group.beyond, {"by": lambda factor: dict(factor=factor)}).get("factor", 2.0)
        ours = factor * group.given("input").astype(np.float64) / 32
        keep = np.ones(len(ours), bool)
        keep[group["risky"]] = False
        yield "", gap(ours, group["out"], keep), 1e-6
        if "out.sum" in group:
            yield "sum", gap(ours.sum(keepdims=True), group["out.sum"]), 1e-6

    folder = make(tmp_path / "made")
    given = np.array([32, 16, -64], np.int8)
    arrays = {"g1.input": given, "g1.out": np.array([2.0, 1.0, -4.0]), "g1.out.sum": np.array([-1.0])}
    arrays |= {"g1.risky": np.array([], np.int16), "g1.by1.5.risky": np.array([1], np.int16)}
    arrays |= {"g1.by1.5.out": np.array([1.5, 99.0, -3.0]), "g1.more": np.zeros(1)}
    np.savez(folder / "stage_doubled.npz", **arrays)
    found = list(examine(folder, torch.device("cpu")))
    assert [one.name for one in found if isinstance(one, Outcome)] == [
        "doubled g1",
        "doubled g1 sum",
        "doubled g1.by1.5",
    ]
    assert all(one.fits for one in found if isinstance(one, Outcome))
    assert [one.key for one in found if isinstance(one, Unknown)] == ["g1.more"]


def test_the_longest_pattern_that_fits_reads(monkeypatch):
    monkeypatch.setattr(reading, "READERS", dict(reading.READERS))
    general = reading.reader_of("e2e_mine_voc21")[0]
    special = reading.reads("e2e_mine_(.+)")(lambda reference, file, dataset: iter(()))
    assert reading.reader_of("e2e_mine_voc21") == (special, ("voc21",))
    assert reading.reader_of("e2e_sclip_voc21")[0] is general


KEYS = (
    "square",
    "square.probe",
    "lam0.6.square",
    "lam0.6.square.probe",
    "lam0.6.square.rows",
    "square.strange",
    "text",
)


def test_keys_are_grouped_by_their_heads(tmp_path):
    np.savez(tmp_path / "a.npz", **{key: np.zeros(index) for index, key in enumerate(KEYS)})
    groups = reading.File(tmp_path / "a.npz").grouped(("probe", "rows"), aside=("text",))
    assert [(group.head, [*group.keys]) for group in groups] == [
        ("square", ["", "probe"]),
        ("lam0.6.square", ["", "probe", "rows"]),
    ]
    assert len(groups[1]["rows"]) == 4
    with pytest.raises(ValueError, match=r"has no \.boxes"):
        groups[0].given("boxes")


def test_risky_patches_are_left_out_and_no_others(tmp_path):
    generator = torch.Generator().manual_seed(0)
    unit = F.normalize(torch.randn(10, 16, generator=generator), dim=1)
    arrays = stored("a", unit)
    arrays["a"][1] += 1  # of patch 3
    arrays["a.probe"][3] += 1
    np.savez(tmp_path / "a.npz", **arrays)
    (group,) = reading.File(tmp_path / "a.npz").grouped(("probe",))
    for risky, fits in (([3], True), ([], False), ([4], False)):
        gaps = [found for _, found, _ in compared(2 * unit, group, risky=np.array(risky, np.int16))]
        assert [found < 1e-5 for found in gaps] == [fits, fits]


def test_strings_of_any_kind(tmp_path):
    """Against open_clip's own text and image tower."""
    folder = make(tmp_path / "made")
    strings = np.array(["a red door.", "two windows, one of them open, in a long wall"])
    with reference_of(folder) as reference:
        clip = reference.backbone(last_block("qk")).clip
        tokens = open_clip.get_tokenizer("parity")([*strings])
        text = F.normalize(clip.encode_text(tokens), dim=1).numpy()
        np.savez(folder / "openai_pooled_text.npz", strings=strings, text=text, tokens=tokens[:, :20].numpy())
        vanilla = stored("tall", features(reference, "tall", tail=last_block("qk")))
        pooled = F.normalize(clip.encode_image(reference.input("small")), dim=1).numpy()
        np.savez(folder / "visual_vanilla.npz", **vanilla, **{"small.pooled": pooled, "small.cls": pooled})
    found = list(examine(folder, torch.device("cpu")))
    assert [(one.name, one.fits) for one in found] == [
        ("text features", True),
        ("text tokens that differ", True),
        ("vanilla tall", True),
        ("vanilla tall probes", True),
        ("vanilla small class token", True),
        ("vanilla small pooled", True),
    ]
    np.savez(folder / "openai_pooled_text.npz", strings=strings[::-1], text=text)
    assert not next(examine(folder, torch.device("cpu"))).fits
