"""Readers of CASS's, RF-CLIP's and FLOSS's files: every key is compared or claimed, and what is off shows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_parity import features, make, off, read, reference_of, stored

from sclip_seg.measure.parity import cass, rfclip
from sclip_seg.methods.cass import assigned, patches_alone, ranged, spectral_distance, spectrum
from sclip_seg.picture.stages.experts import TemplateRanking, fuse
from sclip_seg.picture.stages.texts import clusters, leaders, turned

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say how its weights were trained")
FILTER = dict(channels=[3, 9, 20], sigma=1.5)
WIDE = "heads8.wide2"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def of_cass(reference) -> dict[str, np.ndarray]:
    """Of an input that is no square, read as 8 heads."""
    settings = cass.merged(cass.OWN, dict(heads=8))
    backbone = reference.backbone(**settings)
    backbone.tail.guide.draw, backbone.tail.guide.letter = cass.drawing(reference, 8), "A"
    arrays = stored(WIDE, features(reference, "wide2", **settings))
    trace, tail = backbone.trace(reference.input("wide2")), backbone.tail
    keys, guide = patches_alone(trace).k[0], tail.guide_keys(trace, 8)[0]
    own = ranged(guide, keys)
    distance = spectral_distance(own, keys)
    spectra = torch.stack([spectrum(own), spectrum(keys)])
    arrays |= {f"{WIDE}.guide": np.array("cassA14"), f"{WIDE}.cls": tail.summary(trace)[0].numpy()}
    arrays |= {f"{WIDE}.w": distance.numpy(), f"{WIDE}.pairs": assigned(distance)[1].numpy()}
    arrays |= {f"{WIDE}.scores_rows": tail.scores(keys, guide)[:, ::97].numpy(), f"{WIDE}.spectra": spectra.numpy()}
    calm = cass.merged(settings, cass.options("sequential", cass.WORDS))
    other = reference.backbone(**calm)
    other.tail.guide.draw, other.tail.guide.letter = cass.drawing(reference, 8), "A"
    return arrays | stored("heads8.sequential.wide2", features(reference, "wide2", **calm))


def of_texts() -> dict[str, np.ndarray]:
    text, seen, cls = (
        F.normalize(drawn(*shape, seed=n), dim=1) for n, shape in enumerate([(9, 16), (12, 16), (1, 16)])
    )
    found = clusters(text, "ward", 1.1)
    chosen = leaders(found, cls @ text.T)[0]
    moved = text.clone()
    moved[chosen] = turned(seen[None], text[chosen][None], 0.2)[0]
    scores = 0.75 * seen @ moved.T + 0.25 * cls @ text.T
    arrays = {"text": text, "clusters.1.1": found, "features": seen, "cls": cls, "adjusted": moved, "scores": scores}
    arrays = {key: tensor.numpy() for key, tensor in arrays.items()}
    constants = dict(alpha=np.float32(0.2), h=np.float32(1.1), gamma=np.float32(0.25))
    return arrays | constants | {"changed": chosen.sort().values.numpy(), "guide_input.here": np.zeros(3, np.uint8)}


def of_rfclip(reference) -> dict[str, np.ndarray]:
    arrays = {key: np.array(value) for key, value in FILTER.items()}
    for head, words in (("tall", {}), ("refocus0.05.tall", dict(refocus=0.05))):
        tail = dict(type="RFCLIP") | FILTER | words
        arrays |= stored(head, features(reference, "tall", tail=tail))
    backbone = reference.backbone(dict(type="RFCLIP") | FILTER)
    trace = backbone.trace(reference.input("tall"))
    guide = F.normalize(sum(trace.hidden(block) for block in range(trace.depth))[0, 1:], dim=1)
    first, second = (maps[0, :, ::49].numpy() for _, maps in backbone.tail.readings(trace))
    arrays |= {"tall.attn_rows": first, "tall.attn_rows_guide": second, "tall.cosines": (guide @ guide.T)[::37].numpy()}
    arrays |= {"tall.flagged": rfclip.flagged(trace, backbone.edit).numpy()}
    return arrays | {"tall.cls": trace.joint(trace.hidden(-1)[:, 0])[0].numpy()}


def of_floss() -> dict[str, np.ndarray]:
    probabilities = drawn(4, 3, 5, 6).mul(2).softmax(1)
    counted, arrays = TemplateRanking(), {}
    for number in range(2):
        picture = drawn(5, 3, 6, 7, seed=number).softmax(1)
        arrays[f"ranking.probabilities{number}"] = picture.numpy()
        counted.add(picture)
    order = counted.mean.argsort(dim=1, stable=True)
    arrays |= {"ranking.order": order.numpy(), "ranking.entropy": counted.mean.gather(1, order).numpy()}
    arrays["ranking.percentage"] = (100 * counted.count.gather(1, order) / counted.pixels).numpy()
    *experts, default = probabilities
    return arrays | {"probabilities": probabilities.numpy(), "fused": fuse(experts, default).numpy()}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    with reference_of(make(tmp_path_factory.mktemp("made"))) as reference:
        files = {"visual_cass": of_cass(reference), "visual_rfclip": of_rfclip(reference)}
    return files | {"stage_cass": of_texts(), "stage_floss": of_floss()}


@pytest.fixture
def folder(arrays, tmp_path):
    made = make(tmp_path / "made")
    for name, own in arrays.items():
        np.savez(made / f"{name}.npz", **own)
    return made


def test_every_key_is_compared_or_claimed(folder):
    found, unknown = read(folder)
    assert unknown == []
    assert off(folder) == []
    assert {f"cass {WIDE} pairs that differ", "cass heads8.sequential.wide2", "cass text side adjusted"} <= {*found}
    assert {"rfclip tall wrong tokens flagged", "rfclip refocus0.05.tall", "floss fusion"} <= {*found}


@pytest.mark.parametrize(
    ("file", "key", "told"),
    [
        ("visual_cass", f"{WIDE}.w", f"cass {WIDE} distances"),
        ("visual_cass", f"{WIDE}.cls", f"cass {WIDE} class token"),
        ("visual_cass", f"{WIDE}.scores_rows", f"cass {WIDE} scores"),
        ("visual_rfclip", "tall.cosines", "rfclip tall cosines"),
        ("visual_rfclip", "tall.attn_rows_guide", "rfclip tall attn_rows_guide"),
        ("stage_cass", "adjusted", "cass text side adjusted"),
        ("stage_cass", "clusters.1.1", "cass clusters.1.1 wrong clusters"),
        ("stage_floss", "fused", "floss fusion"),
        ("stage_floss", "ranking.entropy", "floss ranking entropy"),
    ],
)
def test_what_is_off_shows(file, key, told, arrays, folder):
    np.savez(folder / f"{file}.npz", **arrays[file] | {key: arrays[file][key] + 1})
    assert off(folder) == [told]


def test_what_nothing_says_is_unknown(arrays, folder):
    np.savez(folder / "visual_rfclip.npz", **{k: v for k, v in arrays["visual_rfclip"].items() if k != "sigma"})
    np.savez(folder / "visual_cass.npz", **{k: v for k, v in arrays["visual_cass"].items() if not k.endswith("guide")})
    _, unknown = read(folder)
    assert "visual_rfclip" in unknown
    assert f"visual_cass {WIDE}" in unknown


def test_clusters_of_any_numbers():
    assert cass.in_order(np.array([6, 6, 0, 5, 0, 7])).tolist() == [0, 0, 1, 2, 1, 3]
