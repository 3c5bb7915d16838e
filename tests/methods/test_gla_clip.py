"""GLA-CLIP: rows and whole pictures against the float64 formulas, with guides finer and coarser than CLIP's patches."""

from collections.abc import Callable
from itertools import product

import formulas_gla as gla
import formulas_guided as guided
import numpy as np
import plain_chain
import pytest
import torch
import torch.nn.functional as F
from formulas import LastBlockWeights
from scored import maps_of
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.methods import gla_clip
from sclip_seg.methods.gla_clip import proxy_similarity
from sclip_seg.methods.proxyclip import values_on
from sclip_seg.picture.picture import Picture
from sclip_seg.picture.segmentor import OpenVocabSegmentor

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)  # OpenAI's
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
ROUNDING = 5e-7  # of cosines in fp32: a similarity as near to a threshold may fall to the other side
# Guide's patch, picture, crop, stride, windows.
LAYOUTS = {
    "one": (8, (32, 32), 32, 16, 1),
    "1x3 flush": (8, (32, 96), 32, 32, 3),
    "1x5 shifted": (8, (32, 84), 32, 16, 5),
    "2x2": (8, (48, 48), 32, 16, 4),
    "2x3 shifted": (8, (56, 84), 32, 32, 6),
    "2x3 coarser": (16, (48, 80), 32, 32, 6),
    "1x2 finer": (4, (32, 48), 32, 16, 2),
    "oblong": (8, (24, 76), 40, 24, 3),
    "oblong, padded": (16, (28, 76), 40, 24, 3),
    "2x3 padded": (16, (61, 75), 40, 24, 6),
    "off CLIP's patches": (14, (40, 60), 40, 20, 2),
}


def tail(unit: int = 8, lean: float = 0.6, **options) -> dict:
    return dict(type="GLACLIP", guide=dict(type=StubGuide, unit=unit, lean=lean), **options)


@pytest.fixture(scope="module")
def segmentor(build_segmentor):
    """`segmentor(guide's patch, crop, stride, tail's options, **settings)`, its queries encoded."""

    def build(
        patch: int = 8, crop: int = 32, stride: int = 16, options: dict | None = None, batch: int = 16, **settings
    ) -> OpenVocabSegmentor:
        window = dict(crop=crop, stride=stride, padding="symmetric", batch=batch)
        model = build_segmentor(backbone=dict(tail=tail(patch, **(options or {}))), window=window, **settings)
        model.prepare()
        return model

    return build


def scores(model: OpenVocabSegmentor, *images: Tensor) -> list[Tensor]:
    """The maps (Q, H, W) of normalised pictures, given at once, at their own size."""
    return [maps.dense() for maps in maps_of(model, images, [tuple(image.shape[1:]) for image in images])]


@torch.no_grad()
def looked_at(model: OpenVocabSegmentor, image: Tensor) -> Picture:
    return next(iter(model.look([image], [dict()])))


class Published:
    """A picture by the published chain: float64 but for the trunk and the stub."""

    def __init__(self, model: OpenVocabSegmentor, image: Tensor) -> None:
        dense, self.model, self.size = model.backbone, model, tuple(image.shape[1:])
        self.w, self.place = (
            LastBlockWeights.of(dense.clip.visual),
            (self.size, *map(model.window.get, ("crop", "stride"))),
        )
        windows = []
        for top, left, bottom, right in plain_chain.mmseg_boxes(*self.place):
            margins = plain_chain.symmetric_margins(bottom - top, right - left, dense.unit)
            windows.append(F.pad(image[:, top:bottom, left:right], margins))
        batch = torch.stack(windows)
        self.grid = tuple(side // 8 for side in batch.shape[2:])
        with torch.no_grad():
            self.states = dense.trace(batch).before(-1).double().numpy()
            self.guides = dense.tail.guide(batch * STD + MEAN).double().numpy()
        self.keys = gla.unit_keys(self.guides)

    def rows(self, **options) -> list[gla.Row]:
        return gla.joint_rows(self.keys, len(self.guides), **options)

    def maps(self, weights: np.ndarray, resample: Callable = guided.bilinear, size=None) -> Tensor:
        """Score maps (Q, H, W) with these weights P (N, N)."""
        found = gla.features(self.states, self.w, self.grid, self.guides[0].shape[1:], weights, resample)
        unit = F.normalize(torch.from_numpy(np.stack(found)), dim=1)
        tiles = torch.einsum("qd,ndhw->nqhw", self.model.text.features.double(), unit)
        return plain_chain.stitched(tiles, *self.place, self.model.backbone.unit, "symmetric", size or self.size)


def weights_of(rows: list[gla.Row]) -> np.ndarray:
    return np.stack([row.weights for row in rows])


def random_keys(count: int = 24, lean: float = 0.8, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 6, generator=generator) + lean, dim=1)


@pytest.mark.parametrize("gamma", [None, 30.0, 0.0])
@pytest.mark.parametrize("beta", [None, 0.3, 0.0])
@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
@pytest.mark.parametrize("rho", [0.3, 0.55, 0.8, 1.5])
def test_rows_equal_the_formula(rho, rounds, beta, gamma, build_dense):
    options = dict(rho=rho, rounds=rounds, beta=beta, gamma=gamma)
    keys, method = random_keys(), build_dense(tail(**options)).tail
    expected = gla.joint_rows(keys.double().numpy(), windows=4, **options)
    assert min(row.risk for row in expected) > ROUNDING
    weights = method.weights(keys, torch.arange(24), windows=4)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), weights_of(expected), rtol=0, atol=1e-6)
    torch.testing.assert_close(weights.sum(1), torch.ones(24))
    counts = proxy_similarity(keys, torch.arange(24), rho, rounds)[1]
    assert counts.tolist() == [row.count for row in expected]
    if rho == 1.5:  # every row is empty, and has itself
        assert counts.unique().tolist() == [1]


def test_every_setting_moves_the_rows(build_dense):
    """Or the test above would not see it."""
    changes = [dict(), dict(rho=0.3), dict(rho=0.8), *(dict(rounds=n) for n in (0, 1, 3))]
    changes += [dict(beta=None), dict(beta=0.0), dict(gamma=None), dict(gamma=0.0)]
    keys, rows = random_keys(lean=0.5), torch.arange(24)
    found = [build_dense(tail(**options)).tail.weights(keys, rows, 4) for options in changes]
    for index, one in enumerate(found):
        assert all((one - other).abs().max() > 1e-3 for other in found[:index]), changes[index]


def test_a_row_without_an_entry_keeps_its_largest(build_dense):
    """So alike that u times the mean is above every similarity: the published rule leaves the largest alone."""
    keys = F.normalize(torch.randn(20, 6, generator=torch.Generator().manual_seed(2)) + 30, dim=1)
    expected = gla.joint_rows(keys.double().numpy(), windows=4)
    assert {row.kept for row in expected} == {1}
    weights = build_dense(tail()).tail.weights(keys, torch.arange(20), 4)
    assert set(weights.sum(1).tolist()) == {1.0}
    assert set(weights.amax(1).tolist()) == {1.0}
    similar = keys.double() @ keys.double().T  # where fp32 can tell the two largest apart
    proxies = F.normalize(similar.new_ones(20, 20) @ keys.double(), dim=1) @ keys.double().T
    sure = proxies.topk(2, dim=1).values.diff(dim=1).abs()[:, 0] > ROUNDING
    assert sure.any()
    assert torch.equal(weights.argmax(1)[sure], torch.from_numpy(weights_of(expected)).argmax(1)[sure])


def test_a_guide_s_token_without_a_length_looks_at_all_alike(build_dense):
    keys = random_keys()
    keys[5] = 0
    weights = build_dense(tail()).tail.weights(keys, torch.arange(24), 4)
    torch.testing.assert_close(weights[5], torch.full((24,), 1 / 24))
    np.testing.assert_allclose(weights.numpy(), gla.joint_weights(keys.double().numpy(), 4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_picture_equals_the_published_chain(name, segmentor, pictures):
    patch, size, crop, stride, count = LAYOUTS[name]
    model, image, label_size = segmentor(patch, crop, stride), pictures(1, *size)[0], (33, 47)
    (maps,) = maps_of(model, [image], [label_size])
    published = Published(model, image)
    rows = published.rows()
    assert len(published.guides) == count
    assert min(row.risk for row in rows) > ROUNDING
    assert 1 < np.mean([row.kept for row in rows]) < len(rows)
    assert (maps.dense().double() - published.maps(weights_of(rows), size=label_size)).abs().max() < 1e-4


OPTIONS = [dict(rho=0.8), dict(rounds=0), dict(rounds=1), dict(rounds=3), dict(beta=None), dict(gamma=None)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_of_a_picture_equal_the_published_chain(options, segmentor, pictures):
    image = pictures(1, 48, 48)[0]
    model = segmentor(options=options)
    published = Published(model, image)
    (found,), (plain,) = scores(model, image), scores(segmentor(), image)
    assert (found.double() - published.maps(weights_of(published.rows(**options)))).abs().max() < 1e-4
    assert (found - plain).abs().max() > 1e-4


def nearest(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(to) * n // to for n, to in zip(picture.shape[1:], size, strict=True))
    return picture[:, rows][:, :, columns]


@pytest.mark.parametrize("name", ["2x3 padded", "1x2 finer", "off CLIP's patches"])
def test_mistakes_that_were_tried_differ(name, segmentor, pictures):
    patch, size, crop, stride, count = LAYOUTS[name]
    model, image = segmentor(patch, crop, stride), pictures(1, *size)[0]
    (found,) = scores(model, image)
    published = Published(model, image)
    rows = published.rows()
    own, shared = weights_of(rows), float(np.mean([row.mean for row in rows]))
    apart = np.zeros_like(own)
    places = len(own) // count
    for first in range(0, len(own), places):
        block = slice(first, first + places)
        apart[block, block] = gla.joint_weights(published.keys[block], 1)
    mistakes = {
        "nearest values": published.maps(own, nearest),
        "one mean for all rows": published.maps(weights_of(published.rows(mean=shared))),
        "windows apart": published.maps(apart),
        "ln B": published.maps(gla.joint_weights(published.keys, count - 1)),
    }
    assert (found.double() - published.maps(own)).abs().max() < 1e-4
    assert {mistake for mistake, maps in mistakes.items() if (found.double() - maps).abs().max() < 1e-3} == set()


@pytest.mark.parametrize("chunk", [1, 100, 96 * 7, 96 * 95])
def test_chunks_of_rows_move_nothing(chunk, segmentor, pictures, monkeypatch):
    model, image = segmentor(stride=32), pictures(1, 56, 84)[0]
    (whole,) = scores(model, image)
    monkeypatch.setattr(gla_clip, "CHUNK", chunk)
    (found,) = scores(model, image)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 4])
def test_window_batch_moves_nothing(batch, segmentor, pictures):
    image = pictures(1, 56, 84)[0]
    found, whole = (scores(segmentor(stride=32, batch=n), image)[0] for n in (batch, 16))
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [3, 16])
def test_pictures_do_not_share_keys(batch, segmentor, pictures):
    """Of one size and unlike, whose windows go through the trunk together; and of another size."""
    model = segmentor(batch=batch)
    images = [pictures(1, 48, 56)[0], 0.4 * pictures(1, 48, 56, seed=1)[0] + 0.8, pictures(1, 32, 70, seed=2)[0]]
    together, alone = scores(model, *images), [scores(model, image)[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("unit", [4, 16])
def test_every_precision_is_finite_and_near(unit, precision, segmentor, pictures):
    (exact,) = scores(segmentor(unit), pictures(1, 48, 48)[0])
    model = segmentor(unit, precision=precision)
    (found,) = scores(model, pictures(1, 48, 48)[0])
    assert model.backbone.tail.guide.kernel.dtype == model.backbone.dtype
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found.flatten(), exact.flatten(), dim=0) > 0.98
    for colour in (0.0, 0.5, 1.0):  # at 0.5 a guide without a common part has features of length zero
        blank = ((colour - MEAN) / STD).expand(3, 48, 60).contiguous()
        for lean in (0.0, 0.6):
            blind = segmentor(unit, options=dict(lean=lean), precision=precision)
            assert scores(blind, blank)[0].isfinite().all()


def test_a_window_is_a_picture_of_one_window(segmentor, pictures):
    model, windows = segmentor(), pictures(2, 32, 32)
    with torch.no_grad():
        found = F.normalize(model.backbone(windows), dim=1)
    for image, features in zip(windows, found, strict=True):
        expected = torch.einsum("qd,dhw->qhw", model.text.features, features)
        torch.testing.assert_close(maps_of(model, [image], [(32, 32)])[0].lattice, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["2x3 shifted", "1x2 finer", "oblong, padded"])
def test_the_weights_across_windows_are_those_of_the_scores(name, segmentor, pictures):
    patch, size, crop, stride, count = LAYOUTS[name]
    model = segmentor(patch, crop, stride)
    picture, method = looked_at(model, pictures(1, *size)[0]), model.backbone.tail
    grid = tuple(picture.gathered["features"].shape[2:])
    height, width = picture.fitted.shape[1:]
    with torch.no_grad():
        tiles = method.read(picture).tiles
        for y, x in product(np.arange(1.5, height, 6), np.arange(1.5, width, 6)):
            weights = method.attention_across(picture, y, x)
            assert tuple(weights.shape) == (count, 1, *grid)
            assert abs(weights.sum() - 1) < 1e-5
            box = picture.plan.around(y, x)
            row, column = picture.plan.cell(y - box[0], x - box[1], grid)
            mixed = weights.flatten() @ picture.gathered["values"].flatten(0, 1)
            unit = F.normalize(picture.trunk.joint(picture.trunk.blocks[-1].output(mixed)[None])[0], dim=0)
            found = tiles[picture.plan.boxes().index(box), :, row, column]
            torch.testing.assert_close(found, model.text.features @ unit, rtol=0, atol=1e-5)


def test_the_weights_of_a_window_are_those_of_its_features(build_dense, pictures):
    dense, image = build_dense(tail(4)), pictures(2, 24, 32)
    with torch.no_grad():
        maps, features = dense.attention_maps(image, None), dense(image)
        trace = dense.trace(image)
        values = values_on(trace, maps.grid)
        assert (maps.prefix, maps.grid, maps.weights.shape) == (0, (6, 8), (2, 1, 48, 48))
        torch.testing.assert_close(maps.weights.sum(-1), torch.ones(2, 1, 48))
        mixed = trace.joint(trace.blocks[-1].output(maps.weights[:, 0] @ values))
    torch.testing.assert_close(features, mixed.transpose(1, 2).unflatten(2, (6, 8)), rtol=1e-4, atol=1e-5)
