"""Trident: whole pictures against the float64 chain, with stub guides."""

import cv2
import formulas_guided as guided
import numpy as np
import plain_chain
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_VOCABULARY
from formulas import LastBlockWeights
from mmseg.structures import SegDataSample
from stub_guide import StubGuide
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.picture.scores import StitchedMaps
from sclip_seg.picture.segmentor import OpenVocabSegmentor
from sclip_seg.towers.guide import LastAttention

MEAN = np.array([122.771, 116.746, 104.094])[:, None, None]  # OpenAI's, of 8 bits
STD = np.array([68.501, 66.632, 70.323])[:, None, None]


def expected_affinity(last: LastAttention, kappa: float, mend: bool) -> np.ndarray:
    weights = np.stack([last.weights(head).double().numpy() for head in range(len(last.values))])
    return guided.masked_affinity(weights, last.values.double().numpy(), kappa, mend)


def trident(patch: int = 8, token: int = 16) -> dict:
    """The tail with a guide of windows and an affinity of those patches."""
    guide, affinity = dict(type=StubGuide, unit=patch), dict(type=StubGuide, unit=token, seed=1)
    return dict(type="Trident", guide=guide, affinity=affinity)


@pytest.fixture(scope="module")
def segmentor(tiny, build_dense):
    """`segmentor(guide's patch, affinity's patch, tail options, window options, **settings)`, on the tiny tower."""

    def build(
        patch: int = 8, token: int = 16, tail: dict | None = None, window: dict | None = None, **settings
    ) -> OpenVocabSegmentor:
        model = OpenVocabSegmentor(
            backbone=dict(type="DenseCLIP", arch=tiny, pretrained=None, tail=trident(patch, token) | (tail or {})),
            window=dict(crop=32, stride=24) | (window or {}),
            **dict(vocabulary=TINY_VOCABULARY, templates="plain", short_side=None, precision="fp32") | settings,
        )
        model.backbone.clip.load_state_dict(build_dense().clip.state_dict())
        model.prepare()
        return model.eval()

    return build


def photo(height: int, width: int, seed: int = 0) -> Tensor:
    """(3, height, width) uint8 BGR: smooth, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 3, 2 + height // 16, 2 + width // 16, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]
    return (128 + 60 * smooth + 20 * torch.randn(3, height, width, generator=generator)).clamp(0, 255).byte()


def sample(size: tuple[int, int]) -> SegDataSample:
    return SegDataSample(metainfo=dict(ori_shape=size))


def score(model: OpenVocabSegmentor, pictures: list[Tensor]) -> list[StitchedMaps]:
    """The maps of uint8 pictures at their own size, through the preprocessor."""
    sizes = [tuple(picture.shape[1:]) for picture in pictures]
    data = model.data_preprocessor(dict(inputs=pictures, data_samples=[sample(size) for size in sizes]))
    with torch.no_grad():
        return [model.score(seen) for seen in model.look(data["inputs"], data["data_samples"])]


def network_input(picture: Tensor, patch: int, crop: int) -> np.ndarray:
    """A uint8 BGR picture, normalised, at multiples of the patch: (3, H, W)."""
    pixels = (picture.double().numpy()[::-1] - MEAN) / STD
    size = picture.shape[1:]
    if size[0] % patch == 0 and size[1] % patch == 0:
        return pixels
    long = max(size)
    scaled = [int(side * (int(np.ceil(long / patch)) * patch) / long) for side in size]
    return guided.bilinear(pixels, tuple(max(int(np.ceil(side / patch)) * patch, crop) for side in scaled))


def expected_maps(
    model: OpenVocabSegmentor, picture: Tensor, kappa: float = 1.2, mend: bool = False, parts: int = 1, **proxy: float
) -> np.ndarray:
    """Score maps (Q, H, W) by the published chain, float64 but for the trunk and the stubs."""
    dense, crop, stride = model.backbone, model.window["crop"], model.window["stride"]
    w, pixels = LastBlockWeights.of(dense.clip.visual), network_input(picture, 8, crop)
    size = pixels.shape[1:]
    boxes = plain_chain.mmseg_boxes(size, crop, stride)
    crops = [pixels[:, top:bottom, left:right] for top, left, bottom, right in boxes]
    batch = torch.from_numpy(np.stack(crops)).float()
    states = dense.trace(batch).before(-1).double().numpy()
    rgb = torch.from_numpy(np.stack([(window * STD + MEAN) / 255 for window in crops])).float()
    guides = dense.tail.guide(rgb).double().numpy()
    mean = guided.shared_mean([guided.places(guide) for guide in guides])
    grid = (batch.shape[2] // 8, batch.shape[3] // 8)
    tiles = [guided.guided(x, w, grid, guide, mean=mean, **proxy) for x, guide in zip(states, guides, strict=True)]
    tiles = [guided.on_clips_cells(tile, grid) for tile in tiles]
    ratio = tiles[0].shape[1] // grid[0]
    corners = [(top // 8 * ratio, left // 8 * ratio) for top, left, _, _ in boxes]
    canvas = guided.splice(tiles, corners, tuple(side // 8 * ratio for side in size))

    whole = picture.permute(1, 2, 0).numpy()[:, :, ::-1]
    height, width = (int(np.ceil(side / 8)) * 8 for side in picture.shape[1:])
    view = cv2.resize(np.ascontiguousarray(whole), (width, height), interpolation=cv2.INTER_LINEAR) / 255
    strips = []
    for own, part in zip(np.split(canvas, parts, axis=2), np.split(view, parts, axis=1), strict=True):
        last = dense.tail.affinity.last_attention(torch.from_numpy(part).float().permute(2, 0, 1)[None])
        strips.append(guided.aggregated(own, expected_affinity(last, kappa, mend), last.grid, w))
    features = np.concatenate(strips, axis=2)
    features = features / np.sqrt((features**2).sum(0))
    return guided.bilinear(np.einsum("qd,dhw->qhw", model.text.features.double().numpy(), features), picture.shape[1:])


@pytest.mark.parametrize(
    ("size", "patch", "token"),
    [
        ((40, 72), 8, 16),  # multiples of the patch, the last window shifted back
        ((61, 75), 8, 16),  # brought to multiples
        ((61, 75), 16, 8),  # a guide coarser than CLIP, an affinity as fine
        ((75, 50), 4, 16),  # two cells a patch
        ((32, 64), 8, 32),
        ((20, 30), 8, 8),  # smaller than a window
        ((24, 40), 8, 8),  # smaller too, and left as it is
        ((24, 40), 16, 8),  # of which the guide sees 16 x 32 pixels
    ],
    ids=str,
)
def test_a_picture_equals_the_formula(size, patch, token, segmentor):
    model, picture = segmentor(patch, token), photo(*size)
    (maps,) = score(model, [picture])
    expected = expected_maps(model, picture)
    assert maps.shape == expected.shape == (7, *size)
    assert np.abs(maps.dense().double().numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("tail", "changes"),
    [
        (dict(cos_fac=0.0), dict(kappa=0.0)),
        (dict(cos_fac=3.0, mend_negative=True), dict(kappa=3.0, mend=True)),
        (dict(cos_fac=0.3, mend_negative=True), dict(kappa=0.3, mend=True)),
        (dict(beta=1.5, gamma=5.0), dict(beta=1.5, gamma=5.0)),
        (dict(halves=True), dict(parts=2)),
    ],
    ids=str,
)
def test_options_equal_the_formula(tail, changes, segmentor):
    picture = photo(56, 80)
    model = segmentor(token=8, tail=tail)
    found = score(model, [picture])[0].dense()
    assert np.abs(found.double().numpy() - expected_maps(model, picture, **changes)).max() < 1e-4
    assert (found - score(segmentor(token=8), [picture])[0].dense()).abs().max() > 1e-3


def test_the_published_thresholds_differ_where_they_are_negative(segmentor):
    """Or `mend_negative` would be tested on pictures that have none."""
    model = segmentor(token=8)
    view = photo(56, 80).flip(0)[None].float() / 255
    unit = F.normalize(model.backbone.tail.affinity.last_attention(view).values, dim=-1)
    means = (unit @ unit.transpose(1, 2)).mean((0, 2))
    assert 0 < (means < -1e-3).sum() < len(means)


@pytest.mark.parametrize("batch", [1, 5])
def test_window_batch_moves_nothing(batch, segmentor):
    picture = photo(61, 75)
    (maps,) = score(segmentor(), [picture])
    (other,) = score(segmentor(window=dict(batch=batch)), [picture])
    torch.testing.assert_close(other.dense(), maps.dense(), rtol=0, atol=1e-5)


def test_two_pictures_are_each_alone(segmentor):
    """Of one size and unlike mean similarities, and of two sizes."""
    model = segmentor(keep_scores=True, logit_scale=100)
    pictures = [photo(56, 72), photo(56, 72, seed=1) // 4 + 160, photo(40, 61, seed=2)]

    def results(inputs: list[Tensor]) -> list[SegDataSample]:
        samples = [sample(tuple(picture.shape[1:])) for picture in inputs]
        return model.test_step(dict(inputs=inputs, data_samples=samples))

    together, alone = results(pictures), [results([picture])[0] for picture in pictures]
    for one, other, picture in zip(together, alone, pictures, strict=True):
        assert one.pred_sem_seg.data.shape == (1, *picture.shape[1:])
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
        torch.testing.assert_close(one.seg_logits.data, other.seg_logits.data, rtol=0, atol=1e-5)
    assert len(torch.cat([one.pred_sem_seg.data.flatten() for one in together]).unique()) > 1


def test_labels_are_those_of_the_formula(segmentor):
    model, picture = segmentor(logit_scale=50, keep_scores=True), photo(61, 75)
    (result,) = model.test_step(dict(inputs=[picture], data_samples=[sample((61, 75))]))
    owner = model.text.owner.tolist()
    expected = plain_chain.class_probabilities(torch.from_numpy(expected_maps(model, picture)), owner, 50)
    torch.testing.assert_close(result.seg_logits.data.double(), expected, rtol=0, atol=1e-3)
    best = expected.topk(2, dim=0).values
    sure = best[0] - best[1] > 1e-3
    assert sure.float().mean() > 0.9
    assert torch.equal(result.pred_sem_seg.data[0][sure], expected.argmax(0)[sure])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_blank_picture_is_finite(level, precision, segmentor):
    model = segmentor(precision=precision)
    (maps,) = score(model, [torch.full((3, 40, 61), level, dtype=torch.uint8)])
    assert maps.dense().isfinite().all()


def test_bf16_is_near_fp32(segmentor):
    picture = photo(56, 72)
    (exact,), (rounded,) = score(segmentor(), [picture]), score(segmentor(precision="bf16"), [picture])
    assert F.cosine_similarity(rounded.dense().flatten(), exact.dense().flatten(), dim=0) > 0.99


def test_the_affinity_sees_the_full_size(segmentor):
    """The windows are of the picture brought to 40 pixels, the affinity of the 80 that the pipeline delivers."""
    model = segmentor(short_side=40)
    score(model, [photo(80, 101)])
    assert model.backbone.tail.affinity.seen == [(80, 104)]
    assert set(model.backbone.tail.guide.seen) == {(32, 32)}


@pytest.mark.parametrize(
    ("window", "patch", "named"),
    [
        (dict(crop=36, stride=24), 4, "crop=36"),
        (dict(crop=32, stride=12), 8, "stride=12"),
        (dict(crop=None, stride=None), 8, "crop=None"),
        (dict(crop=40, stride=24), 16, "16"),
    ],
    ids=str,
)
def test_windows_off_the_patches_are_refused(window, patch, named, segmentor):
    with pytest.raises(InputError, match=named):
        segmentor(patch, window=window)
