"""Presence pruning: which classes leave, by the rule written out, and what becomes of them after any method."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.evaluate.result import parts
from sclip_seg.methods.cliper import CLIPerMaps
from sclip_seg.picture.picture import Picture, Scores, Whole
from sclip_seg.picture.refine.presence import REMOVED, Presence, beyond
from sclip_seg.picture.scores import DenseMaps, Labelling
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.registry import STEPS

OWNER = torch.tensor([0, 0, 1, 2, 2, 2, 3])
WINNER = torch.tensor([0, 0, 1, 0, 2, 2, 3])  # query 3 stands in class 0 as well
SIZE = (21, 33)
FORMS = [(of, at) for of in ("scores", "probabilities") for at in ("patches", "pixels")]


def rule(background: int | None = None, winner: Tensor | None = None, scale: float = 5.0) -> Labelling:
    return Labelling(OWNER.bincount(), scale, background=background, winner=winner)


def picture_of(labelling: Labelling) -> Picture:
    return Picture(*[None] * 8, rule=labelling)


def cells(seed: int) -> Tensor:
    """(7, 4, 5)"""
    return torch.randn(7, 4, 5, generator=torch.Generator().manual_seed(seed))


def bests(tiles: Tensor, of: str, at: str, scale: float) -> list[float]:
    """The largest of each query, pixel by pixel, in float64."""
    maps = tiles.double()
    if of == "probabilities":
        maps = torch.stack([(scale * maps[:, y, x]).softmax(0) for y in range(4) for x in range(5)], 1).view(7, 4, 5)
    if at == "pixels":
        maps = F.interpolate(maps[None], SIZE, mode="bilinear", align_corners=False)[0]
    return [max(own.flatten().tolist()) for own in maps]


def absent(best: list[float], threshold: float, background: int | None, winner: Tensor) -> set[int]:
    """The classes that leave."""
    gone = set()
    for c in range(4):
        own = [best[q] for q in range(7) if winner[q] == c]
        if c != background and (not own or max(own) < threshold):
            gone.add(c)
    return gone - {0} if background is None and len(gone) == 4 else gone


@pytest.mark.parametrize(("of", "at"), FORMS)
@given(st.integers(0, 10**6), st.sampled_from([None, 0, 2, 3]), st.booleans(), st.floats(0, 1))
def test_who_leaves_equals_the_formula(of, at, seed, background, shared, place):
    tiles, winner = cells(seed), WINNER if shared else OWNER
    best = bests(tiles, of, at, 5.0)
    near = sorted(best)[int(place * 6)]
    for threshold in (near - 1e-4, near + 1e-4):
        labelling = rule(background, winner if shared else None)
        maps = Scores(tiles[None], Whole((32, 40))).maps(SIZE)
        found = Presence(threshold, of, at).revise(maps, picture_of(labelling))
        gone = absent(best, threshold, background, winner)
        dense = found.dense()
        for query in range(7):
            if int(winner[query]) in gone:
                torch.testing.assert_close(dense[query], torch.full(SIZE, REMOVED), rtol=1e-5, atol=0)
            else:
                torch.testing.assert_close(dense[query], maps.dense()[query])
        labels = labelling.labels(found)
        assert not {*labels.unique().tolist()} & gone
        staying = [q for q in range(7) if int(winner[q]) not in gone]
        expected = winner[torch.tensor(staying)[maps.dense()[staying].argmax(0)]]
        assert torch.equal(labels, expected)
        assert not labelling.probabilities(found)[sorted(gone)].any() or shared


@pytest.mark.parametrize(("of", "at"), FORMS)
@pytest.mark.parametrize("background", [None, 0, 2])
def test_where_all_leave_the_background_is_left_or_the_first_class(background, of, at):
    labelling, maps = rule(background), Scores(cells(0)[None], Whole((32, 40))).maps(SIZE)
    step = Presence(100.0, of, at)
    for given_maps in (maps, DenseMaps(maps.dense())):
        found = step.revise(given_maps, picture_of(labelling))
        assert (labelling.labels(found) == (background or 0)).all()
        assert labelling.probabilities(found).isfinite().all()


def test_a_low_threshold_takes_no_class_out():
    maps = Scores(cells(1)[None], Whole((32, 40))).maps(SIZE)
    for of, at in FORMS:
        found = Presence(-100.0, of, at).revise(maps, picture_of(rule(0)))
        assert torch.equal(found.dense(), maps.dense())


def test_the_best_counts_for_all_queries_of_a_class():
    """One good synonym keeps the others."""
    tiles = torch.zeros(7, 4, 5)
    tiles[4, 0, 0] = 1.0
    maps = Scores(tiles[None], Whole((32, 40))).maps(SIZE)
    found = Presence(0.5, "scores", "patches").revise(maps, picture_of(rule()))
    assert [(own == REMOVED).all().item() for own in found.lattice] == [True] * 3 + [False] * 3 + [True]


def test_probabilities_of_cells_are_enlarged_as_they_are():
    """RADSeg's: enlarged cosines reach what enlarged probabilities do not, where two neighbours change places."""
    tiles = torch.zeros(7, 1, 2)
    tiles[0], tiles[1] = torch.tensor([[2.0, -2.0]]), torch.tensor([[-2.0, 2.0]])
    maps = Scores(tiles[None], Whole((8, 16))).maps((8, 16))
    found = Presence(0.0, "probabilities", "pixels").best(maps, 5.0)
    enlarged = F.interpolate((5 * tiles).softmax(0)[None], (8, 16), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(found, enlarged.amax((1, 2)))
    of_pixels = Presence(0.0, "probabilities", "pixels").best(DenseMaps(maps.dense()), 5.0)
    torch.testing.assert_close(of_pixels, (5 * maps.dense()).softmax(0).amax((1, 2)))


TAILS = {
    "csa": dict(),
    "MaskCLIP": dict(backbone=dict(tail=dict(type="MaskCLIP"))),
    "GLACLIP": dict(
        backbone=dict(tail=dict(type="GLACLIP", guide=dict(type=StubGuide, unit=8))),
        window=dict(crop=32, stride=16, padding="symmetric"),
    ),
    "CLIPer": dict(backbone=dict(tail=dict(type="CLIPer", scale=20.0, whole=True)), logit_scale=3.0),
    "LPOSS": dict(
        stages=[dict(type="LPOSS", guide=dict(type=StubGuide, unit=8))],
        window=dict(crop=32, stride=16, padding="symmetric"),
        backbone=dict(tail=dict(type="MaskCLIP")),
    ),
}
AFTER = {"": [], "PAMR": [dict(type="PAMR", steps=2, dilations=(1, 2))], "ClassMaximum": ["ClassMaximum"]}


@torch.no_grad()
def seen(model: OpenVocabSegmentor, *images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Labels and class probabilities of each."""
    model.prepare()
    samples = [SegDataSample(metainfo=dict(ori_shape=(45, 50))) for _ in images]
    return [(labels, model.labelling.probabilities(maps)) for labels, maps in model.segment(images, samples)]


@torch.no_grad()
def best_scores(model: OpenVocabSegmentor, image: Tensor) -> Tensor:
    """Of each class on the patches, (K,)."""
    model.prepare()
    (picture,) = model.look([image], [SegDataSample()])
    lattice = model.score(picture).lattice.amax((1, 2))
    return torch.stack([lattice[model.text.owner == c].max() for c in range(4)])


@pytest.mark.parametrize("background", [None, 2])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("method", TAILS)
def test_after_any_method_and_before_any_step(method, after, background, build_segmentor, pictures):
    images = [pictures(1, 48, 56)[0], pictures(1, 48, 56, seed=4)[0], torch.zeros(3, 48, 56)]
    plain = build_segmentor(**TAILS[method], background=background, refine=AFTER[after])
    best = best_scores(plain, images[0])
    others = sorted(best[[c for c in range(4) if c != background]].tolist())
    step = dict(type="Presence", threshold=(others[0] + others[1]) / 2, of="scores", at="patches")
    model = build_segmentor(**TAILS[method], background=background, refine=[step, *AFTER[after]])
    (gone,) = [c for c in range(4) if c != background and best[c] < step["threshold"]]
    (labels, probability), *more = seen(model, *images)
    assert (labels != gone).all()
    assert (probability[gone] < 1e-6).all()
    assert all(one.isfinite().all() for _, one in [(labels, probability), *more])
    alone = seen(model, images[0])[0][0]
    assert (alone == labels).float().mean() > 0.999  # company moves the last digits
    if not after:
        before = seen(plain, images[0])[0][0]
        assert torch.equal(labels[before != gone], before[before != gone])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_every_precision_is_finite(precision, build_segmentor, pictures):
    model = build_segmentor(precision=precision, background=0, background_threshold=0.3, refine=["Presence"])
    for labels, probability in seen(model, pictures(1, 48, 56)[0], torch.zeros(3, 48, 56)):
        assert probability.isfinite().all()
        assert labels.max() < 4


def test_a_background_threshold_sees_the_classes_that_stay(build_segmentor):
    """Two classes share a pixel; when one leaves, the other is sure."""
    tiles = torch.zeros(7, 1, 1)
    tiles[2], tiles[6] = 1.0, 1.1
    labelling = Labelling(OWNER.bincount(), 10.0, background=0, background_threshold=0.8)
    maps = Scores(tiles[None], Whole((8, 8))).maps((4, 4))
    assert (labelling.labels(maps) == 0).all()
    found = Presence(1.05, "scores", "patches").revise(maps, picture_of(labelling))
    assert (labelling.labels(found) == 3).all()


def test_clipers_form_takes_out_whom_clipers_maps_do():
    for seed in range(5):
        maps, labelling = Scores(cells(seed)[None].abs(), Whole((32, 40))).maps(SIZE), rule(0)
        threshold = float(maps.lattice[2:].amax((1, 2)).median())
        by_step = Presence(threshold, "scores", "patches").revise(maps, picture_of(labelling)).dense()
        by_maps = CLIPerMaps(threshold, 1e-9).revise(maps, picture_of(labelling)).dense()
        assert [q for q in range(2, 7) if (by_step[q] < -1e3).all()] == [
            q for q in range(2, 7) if (by_maps[q] < -1e3).all()
        ]


def test_settings_are_held_and_told():
    for wrong in (dict(of="logits"), dict(at="windows"), dict(threshold="high"), dict(below=0.5)):
        with pytest.raises((InputError, TypeError), match=next(iter(wrong))):
            STEPS.build(dict(type="Presence") | wrong)

    config = SimpleNamespace(model=dict(refine=[dict(type="Presence", threshold=0.3, of="scores", at="patches")]))
    assert parts(config, "refine") == "Presence(at=patches,of=scores,threshold=0.3)"
    assert np.isfinite(REMOVED)


@pytest.mark.parametrize("background", [None, 1])
@pytest.mark.parametrize(
    ("share", "most", "gone"),
    [
        (1.0, None, set()),
        (0.5, None, {0, 3}),
        (0.5, 4, set()),  # no more classes than that
        (0.5, 3, {0, 3}),
        (1.0, 1, {0, 2, 3}),
        (0.0, None, {0, 2, 3}),
    ],
)
def test_the_best_share_of_the_classes_stays(share, most, gone, background):
    """As ActiveSAM has it of its own presence; the background stays."""
    tiles = torch.full((7, 4, 5), 0.01)
    for query, score in zip((0, 2, 3, 6), (0.2, 0.9, 0.5, 0.1), strict=True):
        tiles[query, 1, 1] = score
    step = Presence(threshold=None, of="scores", at="patches", share=share, most=most)
    maps = step.revise(Scores(tiles[None], Whole(SIZE)).maps(SIZE), picture_of(rule(background)))
    removed = {int(OWNER[q]) for q, own in enumerate(maps.lattice) if (own == REMOVED).all()}
    assert removed == gone - {background}


def test_a_class_without_a_query_of_its_own_moves_no_quantile():
    best = torch.tensor([0.1, -torch.inf, 0.3, 0.2])
    assert beyond(best, 0.5, None).tolist() == [True, True, False, False]
