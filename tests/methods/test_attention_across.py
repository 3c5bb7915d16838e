"""What a point looks at in all windows: mixed with it, the gathered values give the very score that `read` gives."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.picture.picture import Picture, Whole
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.registry import TAILS
from sclip_seg.towers.tail import Tail

SIZES = [
    ((40, 72), 8, 16),  # multiples of the patch, the last window shifted back
    ((61, 75), 8, 16),  # brought to multiples by Trident
    ((61, 75), 16, 8),  # a guide coarser than CLIP, an affinity as fine
    ((75, 50), 4, 16),  # two cells a patch
    ((61, 46), 32, 8),  # one cell for four patches: Trident resamples it
    ((20, 30), 8, 8),  # smaller than a window
    ((24, 40), 16, 8),  # of which the guide sees 16 x 32 pixels
]
WINDOW = dict(crop=32, stride=24)


@pytest.fixture(scope="module")
def build(build_segmentor):
    """`build(tail, **settings)`: a segmentor over the tiny tower with that tail, its words encoded."""

    def build_with(tail: dict, **settings) -> OpenVocabSegmentor:
        model = build_segmentor(backbone=dict(tail=tail), **(dict(window=WINDOW) | settings))
        model.prepare()
        return model

    return build_with


def trident(patch: int = 8, token: int = 16, **options) -> dict:
    guide, affinity = dict(type=StubGuide, unit=patch), dict(type=StubGuide, unit=token, seed=1)
    return dict(type="Trident", guide=guide, affinity=affinity) | options


def gla(patch: int = 8, **options) -> dict:
    """With a threshold beyond which the stub's features, which are much alike, do not all make one proxy."""
    return dict(type="GLACLIP", guide=dict(type=StubGuide, unit=patch), rho=0.9) | options


def photo(height: int, width: int) -> Tensor:
    """(3, height, width) uint8 BGR: smooth, with a little noise."""
    generator = torch.Generator().manual_seed(height + width)
    coarse = torch.randn(1, 3, 2 + height // 16, 2 + width // 16, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]
    return (128 + 60 * smooth + 20 * torch.randn(3, height, width, generator=generator)).clamp(0, 255).byte()


def looked(model: OpenVocabSegmentor, size: tuple[int, int]) -> Picture:
    sample = SegDataSample(metainfo=dict(ori_shape=size))
    data = model.data_preprocessor(dict(inputs=[photo(*size)], data_samples=[sample]))
    (picture,) = model.look(data["inputs"], data["data_samples"])
    return picture


def cell_of(tiles: Tensor, layout, y: float, x: float) -> Tensor:
    """The scores (Q,) under a point: of the whole picture, or of the window whose middle is nearest."""
    far = [abs(top + bottom - 2 * y) + 1j * abs(left + right - 2 * x) for top, left, bottom, right in layout.boxes()]
    number = min(range(len(far)), key=lambda index: abs(far[index]))
    top, left, bottom, right = layout.boxes()[number]
    if not isinstance(layout, Whole):
        top, left, bottom, right = layout.area((top, left, bottom, right))
    rows, columns = tiles.shape[2:]
    return tiles[number, :, int((y - top) / (bottom - top) * rows), int((x - left) / (right - left) * columns)]


@torch.no_grad()
def check(model: OpenVocabSegmentor, size: tuple[int, int]) -> None:
    """At points all over a picture, its corners among them."""
    picture, tail, trunk = looked(model, size), model.backbone.tail, model.backbone.trunk
    scores, values = tail.read(picture), picture.gathered["values"]
    height, width = picture.fitted.shape[1:]
    generator, seen = torch.Generator().manual_seed(0), set()
    inner = torch.rand(60, 2, generator=generator, dtype=torch.float64).tolist()
    for down, right in [*inner, (0, 0), (1 - 1e-9, 1 - 1e-9)]:
        y, x = down * height, right * width
        weights = tail.attention_across(picture, y, x)
        assert weights.shape[:2] == (len(picture.plan), 1)
        assert weights.dtype == torch.float32
        assert weights.min() >= 0
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0), rtol=0, atol=1e-5)
        mixed = weights.double().flatten() @ values.double().flatten(0, 1)
        token = trunk.joint(trunk.blocks[-1].output(mixed.float()[None, None]))[0, 0]
        score = model.text.features @ F.normalize(token.float(), dim=0)
        expected = cell_of(scores.tiles, scores.layout, y, x)
        torch.testing.assert_close(score, expected, rtol=0, atol=2e-5)
        seen.add(tuple(expected.tolist()))
    assert len(seen) > min(10, scores.tiles[:, 0].numel() // 2)  # or one cell would stand for all


@pytest.mark.parametrize(("size", "patch", "token"), SIZES, ids=str)
def test_tridents_weights_make_its_scores(size, patch, token, build):
    check(build(trident(patch, token)), size)


@pytest.mark.parametrize(
    "options",
    [
        dict(halves=True),
        dict(halves=True, cos_fac=3.0, mend_negative=True),
        dict(cos_fac=0.0),
        dict(beta=1.5, gamma=5.0),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(56, 80), (61, 93)], ids=str)  # of 93 pixels, brought to 96, halves of 48
def test_tridents_options(size, options, build):
    check(build(trident(8, 8, **options)), size)


def test_halves_of_unlike_grids(build):
    """88 pixels are 5.5 tokens of 16: the canvas of 11 cells goes apart as 6 and 5, the picture as 44 and 44."""
    model = build(trident(8, 16, halves=True))
    check(model, (64, 88))
    picture = looked(model, (64, 88))
    assert [last.grid for last in model.backbone.tail.parts(picture)] == [(4, 2), (4, 2)]


def test_a_half_looks_at_the_windows_of_its_own_canvas(build):
    model = build(trident(8, 8, halves=True), window=dict(crop=32, stride=32))
    picture = looked(model, (32, 128))
    left, right = (model.backbone.tail.attention_across(picture, 16, x).sum((1, 2, 3)) for x in (20, 100))
    assert (left[:2] > 0.01).all()
    assert (right[2:] > 0.01).all()
    assert left[2:].abs().max() == right[:2].abs().max() == 0


@pytest.mark.parametrize(("size", "patch"), [pair[:2] for pair in SIZES], ids=str)
def test_gla_clips_weights_make_its_scores(size, patch, build):
    check(build(gla(patch)), size)


@pytest.mark.parametrize("options", [dict(rounds=0), dict(rho=0.7, rounds=1), dict(beta=None, gamma=None)], ids=str)
def test_gla_clips_options(options, build):
    check(build(gla(**options)), (61, 75))


@pytest.mark.parametrize("size", [(45, 61), (20, 70)], ids=str)
def test_windows_within_padding(size, build):
    check(build(gla(4), window=dict(crop=30, stride=15, padding="symmetric")), size)


@pytest.mark.parametrize("tail", [trident(), gla()], ids=["trident", "gla_clip"])
def test_a_picture_read_at_another_size(tail, build):
    check(build(tail, short_side=48), (70, 101))


@pytest.mark.parametrize("tail", [trident(), trident(halves=True), gla()], ids=["trident", "halves", "gla_clip"])
def test_nothing_is_left_to_differentiate(tail, build):
    """Gradients are kept for the transposition alone, under no_grad or not."""
    model = build(tail)
    picture = looked(model, (40, 72))
    with torch.no_grad():
        quiet = model.backbone.tail.attention_across(picture, 10, 50)
    assert not quiet.requires_grad
    torch.testing.assert_close(model.backbone.tail.attention_across(picture, 10, 50), quiet, rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("tail", [trident(), gla()], ids=["trident", "gla_clip"])
def test_half_precision_is_near(tail, precision, build):
    pair = [build(tail), build(tail, precision=precision)]
    with torch.no_grad():
        one, other = (model.backbone.tail.attention_across(looked(model, (40, 72)), 10, 50) for model in pair)
    assert one.dtype == other.dtype == torch.float32
    torch.testing.assert_close(other.sum(), torch.tensor(1.0), rtol=0, atol=1e-4)
    assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.98


def test_a_tail_that_says_so_shows_it_and_no_other():
    for tail in TAILS.module_dict.values():
        assert tail.looks_across == (tail.attention_across is not Tail.attention_across), tail
