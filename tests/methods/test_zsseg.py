"""zsseg's second stage and SCAN's beside the float64 formulas, behind a method that knows nothing of regions."""

from dataclasses import replace
from types import SimpleNamespace

import formulas_zsseg as plain
import numpy as np
import pytest
import torch
from formulas import softmax
from mmseg.structures import SegDataSample
from named_regions import SCALE, SIZE, Seen, close, original, stage
from safetensors.torch import save_file
from stub_proposals import StubProposals
from stub_regions import StubRegions, rectangles

from sclip_seg.errors import InputError
from sclip_seg.evaluate.result import parts
from sclip_seg.methods import zsseg
from sclip_seg.regions.pieces import pieces
from sclip_seg.regions.regions import VOID


@pytest.mark.parametrize(
    ("kind", "ratio", "settings"),
    [("ZSSeg", 0.0, {}), ("SCAN", 0.5, dict(ratio=0.5, blocks=(1, 3), tower=None)), ("SCAN", 0.0, dict(ratio=0.0))],
)
def test_a_map_s_regions_are_named_by_their_crops(kind, ratio, settings, build_segmentor):
    """And where none lies the method's own scores stand."""
    seen = Seen(build_segmentor(stages=[stage(kind, **settings)]))
    ids, expected = rectangles(*SIZE).numpy(), seen.before.double().numpy().copy()
    assert VOID in ids
    for number in set(np.unique(ids)) - {VOID}:
        found = seen.text @ seen.feature(ids == number, ratio, (0, 2) if ratio else ())
        expected[:, ids == number] = found[:, None]
    close(seen.after, expected)


def test_the_method_s_scores_have_a_part_within_regions(build_segmentor):
    whole, half = (Seen(build_segmentor(stages=[stage(dense=dense)])) for dense in (0.0, 0.5))
    assert torch.allclose(half.after, (whole.after + half.before) / 2, atol=1e-6)
    assert not torch.equal(whole.after, half.after)


def soft_case(model, threshold: float):
    """Masks (R, H, W), who is valid, and p (R, Q), 1 where nobody is."""
    seen = Seen(model)
    regions = seen.picture.proposals(model.stages[0].regions)
    masks = regions.masks().double().numpy()
    valid = (masks > threshold).any((1, 2))
    p = np.ones((len(masks), len(seen.text)))
    for r in np.flatnonzero(valid):
        p[r] = softmax(SCALE * seen.text @ seen.feature(masks[r] > threshold))
    return seen, regions, masks, valid, p


def compare(seen: Seen, total: np.ndarray, somewhere: np.ndarray) -> None:
    """What is within regions is a probability's logarithm, up to what a softmax leaves out."""
    assert somewhere.any()
    assert not somewhere.all()
    expected = total / total.sum(0)
    found = (SCALE * seen.after.double()).softmax(0).numpy()
    np.testing.assert_allclose(found[:, somewhere], expected[:, somewhere], rtol=0, atol=1e-4)
    assert torch.equal(seen.after[:, ~torch.from_numpy(somewhere)], seen.before[:, ~torch.from_numpy(somewhere)])


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_soft_masks_add_up(threshold, build_segmentor):
    model = build_segmentor(stages=[stage(provider=StubProposals, threshold=threshold)])
    seen, regions, masks, valid, p = soft_case(model, threshold)
    assert not valid.all()
    c = np.where(valid[:, None], regions.objectness.double().numpy()[:, None] * p, 0)
    compare(seen, plain.mixture(c, masks), (masks[valid] > threshold).any(0))


@pytest.fixture
def head(tmp_path) -> str:
    path = tmp_path / "seen.safetensors"
    save_file({"void": torch.randn(24, generator=torch.Generator().manual_seed(5))}, path)
    return str(path)


@pytest.mark.parametrize("kind", ["ZSSeg", "SCAN"])
def test_a_trained_head_has_its_part(kind, head, build_segmentor):
    settings = dict(ratio=0.0, void=True) if kind == "SCAN" else dict(trained=["grass"])
    options = dict(head=head, share=0.7, **settings)
    model = build_segmentor(stages=[stage(kind, StubProposals, **options)])
    seen, regions, masks, valid, p = soft_case(model, 0.5)
    void = model.stages[0].head.void.double().numpy()
    q = plain.head(regions.embeddings.double().numpy(), seen.text, void, SCALE)
    w = np.where((seen.picture.text.owner == 1).numpy() & (kind == "ZSSeg"), 0.3, 0.7)
    c = q[:, :-1] ** (1 - w) * p**w
    c = plain.with_void(c, q[:, -1]) if kind == "SCAN" else c
    compare(seen, plain.mixture(c, masks), (masks[valid] > 0.5).any(0))


@pytest.mark.parametrize("provider", [StubRegions, StubProposals])
def test_the_cheap_reader_takes_means_of_patches(provider, build_segmentor):
    """Windows of 32 pixels, 16 apart, in patches of 8."""
    model = build_segmentor(stages=[stage(provider=provider, reader="patches")])
    seen = Seen(model)
    regions = seen.picture.proposals(model.stages[0].regions)
    if provider is StubRegions:
        masks = np.stack([(regions.ids == number).numpy() for number in range(6) if (regions.ids == number).any()])
    else:
        masks = regions.masks().double().numpy()
    sums = np.zeros((len(masks), 24))
    for (top, left, _, _), window in zip(seen.picture.plan.boxes(), seen.picture.patches.double().numpy(), strict=True):
        for row in range(4):
            for column in range(4):
                own = window[:, row, column] / np.sqrt((window[:, row, column] ** 2).sum())
                where = slice(top + 8 * row, top + 8 * row + 8), slice(left + 8 * column, left + 8 * column + 8)
                sums += masks[(slice(None), *where)].sum((1, 2))[:, None] * own
    found, valid = model.stages[0].features(regions, seen.picture)
    assert valid.all()
    close(found, sums / np.sqrt((sums**2).sum(1))[:, None])


@pytest.mark.parametrize("reader", ["crops", "patches"])
def test_without_a_region_with_one_and_with_many(reader, build_segmentor):
    nothing, one, many = (
        Seen(build_segmentor(stages=[stage(given=given, reader=reader)]))
        for given in (dict(count=0), dict(count=1, void=False), dict(count=500, seed=3))
    )
    assert torch.equal(nothing.after, nothing.before)
    assert torch.allclose(one.after, one.after[:, :1, :1].expand_as(one.after))
    assert many.after.isfinite().all()
    assert not torch.equal(many.after, many.before)
    masks = Seen(build_segmentor(stages=[stage(provider=StubProposals, given=dict(count=0), reader=reader)]))
    assert torch.equal(masks.after, masks.before)


@torch.no_grad()
@pytest.mark.parametrize("chosen", [stage(), stage("SCAN", ratio=0.5), stage(provider=StubProposals)], ids=str)
def test_two_pictures_together_are_each_by_itself(chosen, build_segmentor):
    model = build_segmentor(stages=[chosen])
    model.prepare()

    def predicted(*seeds):
        samples = [SegDataSample(metainfo=dict(ori_shape=SIZE)) for _ in seeds]
        for seed, sample in zip(seeds, samples, strict=True):
            sample.set_data(dict(original=original(seed)))
        inputs = [model.data_preprocessor.prepared(original(seed)) for seed in seeds]
        return [maps.dense() for _, maps in model.segment(inputs, samples)]

    for together, (alone,) in zip(predicted(0, 1), (predicted(0), predicted(1)), strict=True):
        assert torch.allclose(together, alone, atol=2e-6)


@pytest.mark.parametrize("reader", ["crops", "patches"])
def test_how_many_masks_are_held_at_a_time_moves_nothing(reader, build_segmentor, monkeypatch):
    found = []
    for together in (zsseg.TOGETHER, 1):
        monkeypatch.setattr(zsseg, "TOGETHER", together)
        found.append(Seen(build_segmentor(stages=[stage(provider=StubProposals, reader=reader)])).after)
    assert torch.allclose(*found, atol=2e-6)


def test_pieces_are_cut_when_their_batch_comes(build_segmentor, monkeypatch):
    """So that thousands of masks at their full size are never there at once."""
    alive, most = [0], [0]

    def counted(regions, threshold):
        for piece in pieces(regions, threshold):
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            yield piece

    def done(tower, batch):
        alive[0] -= len(batch)
        return class_features(tower, batch)

    class_features = zsseg.class_features
    monkeypatch.setattr(zsseg, "pieces", counted)
    monkeypatch.setattr(zsseg, "class_features", done)
    window = dict(crop=32, stride=16, batch=4)
    assert len(Seen(build_segmentor(stages=[stage(given=dict(count=60, seed=3))], window=window)).after)
    assert most[0] <= 5


def test_crops_do_not_depend_on_the_batch(build_segmentor):
    one, many = (
        Seen(build_segmentor(stages=[stage("SCAN", ratio=0.5)], window=dict(crop=32, stride=16, batch=batch)))
        for batch in (1, 16)
    )
    assert torch.allclose(one.after, many.after, atol=2e-6)


def test_what_does_not_go_together_is_refused(head, build_segmentor, tmp_path):
    with pytest.raises(InputError, match="its reader is 'crops'"):
        build_segmentor(stages=[stage("SCAN", reader="patches")])
    with pytest.raises(InputError, match="StubRegions gives a map"):
        Seen(build_segmentor(stages=[stage(head=head)]))
    with pytest.raises(InputError, match="queries of a head, and there is none"):
        build_segmentor(stages=[stage("SCAN", integration="file")])
    with pytest.raises(InputError, match="'gras', which is no class"):
        build_segmentor(stages=[stage(head=head, trained=["gras"])])
    with pytest.raises(InputError, match="gives 7 numbers"):
        Seen(build_segmentor(stages=[stage(provider=StubProposals, given=dict(width=7), head=head)]))
    save_file({"void": torch.zeros(24), "weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="no head of proposals"):
        build_segmentor(stages=[stage(head=str(tmp_path / "other.safetensors"))])
    (tmp_path / "no.safetensors").write_text("nothing")
    with pytest.raises(InputError, match="cannot be read"):
        build_segmentor(stages=[stage(head=str(tmp_path / "no.safetensors"))])


def test_the_layers_of_a_head_come_before_its_comparison(head, build_segmentor):
    plain_head = build_segmentor(stages=[stage(head=head)]).stages[0].head
    x, text = torch.randn(5, 24), torch.nn.functional.normalize(torch.randn(3, 24), dim=1)
    first, second = (torch.randn(24, 24), torch.randn(24)), (torch.eye(24), torch.zeros(24))
    through = replace(plain_head, layers=(first, second)).probabilities(x, text, SCALE)
    by_hand = plain_head.probabilities((x @ first[0].T + first[1]).relu(), text, SCALE)
    assert torch.allclose(through, by_hand, atol=1e-6)
    assert plain_head.told != replace(plain_head, void=plain_head.void + 1).told


def test_the_head_s_digest_is_in_the_signature_and_not_its_place(head):
    written = SimpleNamespace(model=dict(stages=[dict(type="ZSSeg", regions="sam2", head=head)]))
    assert "head=seen#" in parts(written, "stages")
    assert "/" not in parts(written, "stages")
