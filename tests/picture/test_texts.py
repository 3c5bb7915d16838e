"""The stages on texts beside their formulas in float64, window by window."""

import formulas_cass as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scored import maps_of
from torch import Tensor

from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.picture.stages.texts import clusters, leaders, turned
from sclip_seg.registry import STAGES

ADJUSTER = dict(type="TextAdjuster", alpha=0.3, distance=0.08)
BLEND = dict(type="PresenceBlend", gamma=0.4)
WINDOWS = {"whole": dict(crop=None), "windows": dict(crop=32, stride=16)}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(drawn(*shape, seed=seed), dim=-1)


@pytest.fixture(scope="module")
def segmentor(build_segmentor):
    """`segmentor(stages, **settings)`, its queries encoded."""

    def build(stages: list, **settings) -> OpenVocabSegmentor:
        model = build_segmentor(stages=stages, **settings)
        model.prepare()
        return model

    return build


@torch.no_grad()
def looked(model: OpenVocabSegmentor, image: Tensor):
    """A picture, and its scores after the stages."""
    (picture,) = model.look([image], [dict()])
    scores = model.backbone.tail.read(picture)
    for stage in model.stages:
        scores = stage(scores, picture)
    return picture, scores


def members(found: Tensor) -> list[list[int]]:
    return [np.flatnonzero(found.numpy() == number).tolist() for number in range(int(found.max()) + 1)]


def presence(model: OpenVocabSegmentor, picture, of: str) -> np.ndarray:
    """s (N, Q) by the whole tower: CLIP's own picture feature, of the picture or of its windows."""
    own = picture.fitted[None] if of == "picture" else torch.cat([*picture.plan.cut([picture.fitted], 99)])
    trace = model.backbone.trace(own, blocks=(-1,))
    tokens = trace.joint(trace.hidden(-1)[:, 0]).double()
    found = F.normalize(tokens, dim=1).numpy() @ model.text.features.double().numpy().T
    return found.repeat(len(picture.plan), 0) if of == "picture" else found


@pytest.mark.parametrize("size", [(40, 56), (32, 32), (64, 40)], ids=str)
@pytest.mark.parametrize("of", ["picture", "window"])
@pytest.mark.parametrize("window", WINDOWS)
def test_scores_equal_the_formula(window, of, size, segmentor):
    stages = [ADJUSTER | dict(of=of), BLEND | dict(of=of)]
    model = segmentor(stages, window=WINDOWS[window])
    picture, scores = looked(model, drawn(3, *size))
    queries = model.text.features.double().numpy()
    found = members(clusters(model.text.features, "ward", 0.08))
    assert 1 < len(found) < len(queries)
    features = torch.cat([model.backbone(batch) for batch in picture.plan.cut([picture.fitted], 99)]).double()
    present = presence(model, picture, of)
    for number, own in enumerate(features.flatten(2).transpose(1, 2).numpy()):
        expected = plain.text_side(own, queries, found, present[number], 0.3, 0.4)
        tiles = scores.tiles[number].flatten(1).T
        np.testing.assert_allclose(tiles.double().numpy(), expected, rtol=0, atol=2e-6)
    assert scores.layout == picture.plan


@pytest.mark.parametrize(
    "stages", [[ADJUSTER], [BLEND], [BLEND | dict(of="window")], [BLEND, ADJUSTER | dict(of="window")]]
)
def test_pictures_are_each_alone(stages, segmentor):
    model = segmentor(stages)
    images = [drawn(3, 40, 56, seed=seed) for seed in range(3)] + [drawn(3, 64, 40, seed=4)]
    sizes = [(40, 56)] * 4
    apart = [maps_of(model, [image], [size])[0].dense() for image, size in zip(images, sizes, strict=True)]
    for found, expected in zip(maps_of(model, images, sizes), apart, strict=True):
        torch.testing.assert_close(found.dense(), expected, rtol=0, atol=2e-6)


def test_stages_move_scores_and_without_them_nothing_is_kept(segmentor):
    image = drawn(3, 40, 56)
    picture, before = looked(segmentor([]), image)
    assert (picture.patches, picture.summaries, picture.overall) == (None, None, None)
    for stage in (ADJUSTER, BLEND):
        _, after = looked(segmentor([stage]), image)
        assert (after.tiles - before.tiles).abs().max() > 1e-3
    for stage in (ADJUSTER | dict(alpha=0.0), BLEND | dict(gamma=0.0)):
        _, after = looked(segmentor([stage]), image)
        torch.testing.assert_close(after.tiles, before.tiles, rtol=0, atol=1e-6)


def test_a_single_window_is_the_picture(segmentor, monkeypatch):
    """It goes through the trunk once."""
    model = segmentor([BLEND], window=dict(crop=None))
    passes = []
    trace = model.backbone.trace
    monkeypatch.setattr(model.backbone, "trace", lambda *given: passes.append(1) or trace(*given))
    picture, _ = looked(model, drawn(3, 40, 56))
    assert len(passes) == 1
    assert picture.overall.shape == (1, 24)


@pytest.mark.parametrize("method", ["ward", "complete", "average", "single"])
def test_clusters_are_cut_from_the_tree(method):
    """Near ones together, numbered as they appear; one query is a cluster."""
    centres = unit(4, 16)
    near = F.normalize(centres[[0, 1, 0, 2, 1, 3]] + 0.02 * drawn(6, 16, seed=1), dim=1)
    assert clusters(near, method, 0.1).tolist() == [0, 1, 0, 2, 1, 3]
    assert clusters(near, method, 50.0).tolist() == [0] * 6
    assert clusters(near, method, 0.0).tolist() == list(range(6))
    assert clusters(near[:1], method, 0.1).tolist() == [0]
    same = near[[0, 0, 1]]
    assert clusters(same, method, 1e-3).tolist() == [0, 0, 1]


def test_the_first_of_equals_leads():
    found = torch.tensor([0, 1, 0, 1, 2])
    assert leaders(found, torch.tensor([[0.1, 0.5, 0.3, 0.5, -1.0], [0.4, 0.1, 0.3, 0.2, 0.0]])).tolist() == [
        [2, 1, 4],
        [0, 3, 4],
    ]


def test_a_window_of_one_patch():
    features, queries = unit(2, 1, 8), unit(2, 3, 8, seed=1)
    found = turned(features, queries, 0.5)
    torch.testing.assert_close(found, F.normalize(0.5 * queries + 0.5 * features, dim=2))
    assert torch.equal(turned(features, queries, 0.0), F.normalize(queries, dim=2))


@pytest.mark.parametrize("method_tail", ["views", "across", "whole"])
def test_any_method_takes_them(method_tail, segmentor):
    """Several views of a window, one that looks across windows, and one whose scores lie over the whole picture."""
    from stub_guide import StubGuide

    guide = dict(type=StubGuide)
    tails = {
        "views": dict(type="ITACLIP"),
        "across": dict(type="GLACLIP", guide=guide),
        "whole": dict(type="CLIPer", whole=True),
    }
    own = dict(backbone=dict(tail=tails[method_tail]))
    image = drawn(3, 48, 64)
    for of in ("picture", "window"):
        model = segmentor([ADJUSTER | dict(of=of), BLEND | dict(of=of)], **own)
        (maps,) = maps_of(model, [image], [(48, 64)])
        (plain_maps,) = maps_of(segmentor([], **own), [image], [(48, 64)])
        assert maps.dense().isfinite().all()
        assert (maps.dense() - plain_maps.dense()).abs().max() > 1e-3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_is_near(precision, segmentor):
    image = drawn(3, 40, 56)
    (exact,) = maps_of(segmentor([BLEND]), [image], [(40, 56)])
    (rounded,) = maps_of(segmentor([BLEND], precision=precision), [image], [(40, 56)])
    assert rounded.dense().dtype == torch.float32
    assert (rounded.dense() - exact.dense()).abs().max() < 0.05
    assert maps_of(segmentor([ADJUSTER], precision=precision), [image], [(40, 56)])[0].dense().isfinite().all()


@pytest.mark.parametrize("colour", [0.0, 1.5])
def test_a_blank_picture_is_finite(colour, segmentor):
    (maps,) = maps_of(segmentor([ADJUSTER, BLEND]), [torch.full((3, 40, 56), colour)], [(40, 56)])
    assert maps.dense().isfinite().all()


def test_one_query(segmentor):
    model = segmentor([ADJUSTER, BLEND], vocabulary=["thing"])
    (maps,) = maps_of(model, [drawn(3, 40, 56)], [(40, 56)])
    assert maps.dense().isfinite().all()


def test_both_are_found_by_name():
    assert STAGES.build(dict(type="TextAdjuster")).needs_features
    assert STAGES.build(dict(type="PresenceBlend", of="window")).needs_summary == "window"
