"""Readers of SFP's and DIH-CLIP's files: every key is compared or claimed, and what is off shows."""

import numpy as np
import pytest
import torch
from made_parity import features, make, off, read, reference_of, stored

from sclip_seg.methods.dih_clip import entropies, selected, trained
from sclip_seg.methods.scclip import repair
from sclip_seg.methods.sfp import class_and_own

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
FACTOR = 0.4


def rows(tail, similar):
    """Every 49th row of (1, P, P), thresholded."""
    return (similar[0] * (similar[0] >= tail.beta))[::49].numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = make(tmp_path_factory.mktemp("made"))
    with reference_of(made) as reference:
        arrays = {}
        for head, options in (("wide2", {}), ("few.tall", dict(factor=FACTOR)), ("L2.wide2", dict(detector="norm"))):
            backbone, name = reference.backbone(dict(type="SFP") | options), head.rpartition(".")[2]
            trace, tail = backbone.trace(reference.input(name)), backbone.tail
            arrays |= stored(head, features(reference, name, tail=dict(type="SFP") | options))
            arrays[f"{head}.outliers"] = tail.anomalous(trace)[0].nonzero().flatten().numpy().astype(np.int16)
            arrays[f"{head}.mid_rows"] = rows(tail, tail.middle(trace)[0])
            arrays[f"{head}.post_rows"] = rows(tail, tail.after(trace))
            by_class, own = class_and_own(trace.qkv(-2))
            arrays |= {f"{head}.class_to_patch": tail.factor * by_class[0].numpy(), f"{head}.self": own[0].numpy()}
        np.savez(made / "visual_sfp.npz", **arrays, **{"few.tall.factor": np.float64(FACTOR)})

        settings = dict(tail=dict(type="DIHCLIP", heads=3), heads=8)
        backbone = reference.backbone(**settings)
        trace, tail = backbone.trace(reference.input("wide2")), backbone.tail
        _, similar, passes = tail.passes(trace)
        maps = [tail.maps(tail.projections(trace, patches), similar) for patches, _ in passes]
        entropy = torch.cat([entropies(one) for one in (trained(trace.qkv(8)), *maps)])
        arrays = stored("heads8.top3.wide2", features(reference, "wide2", **settings))
        arrays["heads8.top3.wide2.entropy"] = entropy.numpy()
        arrays["heads8.top3.wide2.heads"] = np.stack([np.flatnonzero(chosen) for chosen in selected(entropy, 3)])
        np.savez(made / "visual_dih.npz", **arrays)

    whole, cells = np.random.default_rng(0).normal(size=(6, 5, 7)).astype(np.float32), [(0, 0), (2, 6), (2, 5)]
    outlier = torch.zeros(5, 7, dtype=torch.bool)
    outlier[tuple(zip(*cells, strict=True))] = True
    mended = repair(torch.from_numpy(whole).flatten(1).T[None], outlier.view(1, 35), (5, 7), "zero")
    arrays = dict(map=whole, cells=np.array(cells, np.int16), untouched=whole)
    np.savez(made / "stage_sfp.npz", **arrays, repaired=mended[0].T.reshape(6, 5, 7).numpy())
    return made


def test_every_key_is_compared_or_claimed(folder):
    found, unknown = read(folder)
    assert unknown == []
    assert off(folder) == []
    assert {"sfp repaired", "sfp untouched", "sfp few.tall outliers that differ", "sfp L2.wide2 rows of M"} <= {*found}
    assert {"dih heads8.top3.wide2 heads that differ", "dih heads8.top3.wide2 entropies, relative"} <= {*found}


@pytest.mark.parametrize(
    ("file", "key", "told"),
    [
        ("visual_sfp", "wide2.outliers", ["sfp wide2 outliers that differ"]),
        ("visual_sfp", "wide2.self", ["sfp wide2 patch to itself"]),
        ("visual_sfp", "L2.wide2.mid_rows", ["sfp L2.wide2 rows of M"]),
        ("visual_dih", "heads8.top3.wide2.entropy", ["dih heads8.top3.wide2 entropies, relative"]),
        ("stage_sfp", "repaired", ["sfp repaired"]),
        ("stage_sfp", "untouched", ["sfp untouched"]),
    ],
)
def test_what_is_off_is_named(file, key, told, folder):
    arrays = dict(np.load(folder / f"{file}.npz"))
    changed = arrays | {key: arrays[key] + arrays[key].dtype.type(1)}
    np.savez(folder / f"{file}.npz", **changed)
    try:
        assert off(folder) == told
    finally:
        np.savez(folder / f"{file}.npz", **arrays)


def test_the_factor_beside_the_features_is_theirs(folder):
    arrays = dict(np.load(folder / "visual_sfp.npz"))
    np.savez(folder / "visual_sfp.npz", **arrays | {"few.tall.factor": np.float64(3.0)})
    try:
        assert "sfp few.tall class to patch" in off(folder)
    finally:
        np.savez(folder / "visual_sfp.npz", **arrays)


def test_heads_that_differ_are_counted(folder):
    arrays = dict(np.load(folder / "visual_dih.npz"))
    heads = arrays["heads8.top3.wide2.heads"].copy()
    heads[0, 0] = next(head for head in range(8) if head not in heads[0])
    np.savez(folder / "visual_dih.npz", **arrays | {"heads8.top3.wide2.heads": heads})
    try:
        found, _ = read(folder)
        assert found["dih heads8.top3.wide2 heads that differ"].gap == 2
    finally:
        np.savez(folder / "visual_dih.npz", **arrays)
