"""GEM, CLIP Surgery and ITACLIP, which read more of the trunk than its last block, against their formulas."""

import formulas_paths as paths
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words.text import TextBank

SIZES = [(32, 32), (24, 40), (48, 16)]
METHODS = ["GEM", "CLIPSurgery", "ITACLIP"]
SURGERY = dict(type="CLIPSurgery", feature_surgery=True)
OPTIONS = [
    dict(type="GEM", iterations=0),
    dict(type="GEM", iterations=2),
    dict(type="GEM", iterations=3),
    dict(type="GEM", temperature=12.0),
    dict(type="GEM", temperature=0.5, iterations=2),
    dict(type="GEM", blocks=1),
    dict(type="GEM", blocks=4, tower=None),
    dict(type="CLIPSurgery", blocks=8),
    dict(type="CLIPSurgery", blocks=4, tower=None),
    dict(type="ITACLIP", blocks=[2]),
    dict(type="ITACLIP", blocks=(1, 2, 3), tower=None),
    dict(type="ITACLIP", blocks=(5, 12)),
]
SCORED = [
    *(dict(type=name) for name in METHODS),
    SURGERY,
    SURGERY | dict(blocks=3, tower=None),
    dict(type="ITACLIP", engineering=None),
    dict(type="ITACLIP", engineering=0.0),
    dict(type="ITACLIP", engineering=0.3, blocks=(4,)),
    dict(type="ITACLIP", engineering=1.0),
]


def stem(dense: DenseCLIP, image: Tensor) -> np.ndarray:
    """The states before the first block, (N, T, C), as the trunk computes them."""
    seen = []
    handle = dense.clip.visual.ln_pre.register_forward_hook(lambda module, inputs, output: seen.append(output))
    dense.trace(image)
    handle.remove()
    return seen[0].double().numpy()


def grid_of(image: Tensor) -> tuple[int, int]:
    return image.shape[-2] // 8, image.shape[-1] // 8


def joint_paths(dense: DenseCLIP, image: Tensor, tail: dict) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """By the formulas and for each window, the joint features (T, D) of the tail's path and of the original one."""
    tail, grid, both = dict(tail), grid_of(image), []
    name, depth = tail.pop("type"), tail.pop("tower", 12)
    tower = paths.tower_weights(dense.clip.visual)
    for x in stem(dense, image):
        if name == "ITACLIP":
            blocks = tuple(paths.counted(block, len(tower), depth) for block in tail.get("blocks", (7, 8, 10)))
            both.append((paths.joint(paths.itaclip(x, tower, grid, blocks), tower[-1]), None))
            continue
        blocks = paths.counted(tail.get("blocks", 6), len(tower), depth)
        settings = {key: tail[key] for key in ("iterations", "temperature") if key in tail}

        def attention(p, settings=settings):
            return paths.gem_attention(p, **settings) if name == "GEM" else paths.surgery_attention(p)

        tokens = paths.dual_path(x, tower, grid, blocks, attention)
        both.append(tuple(paths.joint(path, tower[-1]) for path in tokens))
    return both


def expected_features(dense: DenseCLIP, image: Tensor, tail: dict) -> Tensor:
    """(N, D, h, w)"""
    maps = [paths.grid_of(new, grid_of(image)) for new, _ in joint_paths(dense, image, tail)]
    return torch.from_numpy(np.stack(maps))


def expected_scores(dense: DenseCLIP, image: Tensor, tail: dict, text: TextBank) -> Tensor:
    """(N, Q, h, w)"""
    queries, count = text.features.double().numpy(), len(image)
    gamma = tail.get("engineering", 0.75) if tail["type"] == "ITACLIP" else None
    if gamma is not None:
        views = torch.from_numpy(paths.views(image.double().numpy())).float()
        features = expected_features(dense, views, tail).unflatten(0, (5, count)).numpy()
        maps = [paths.engineered_scores(features[:, window], queries, gamma) for window in range(count)]
    elif tail.get("feature_surgery"):
        scores = (paths.feature_surgery(*both, queries) for both in joint_paths(dense, image, tail))
        maps = [paths.grid_of(window, grid_of(image)) for window in scores]
    else:
        unit = F.normalize(expected_features(dense, image, tail), dim=1).numpy()
        maps = [np.einsum("dhw,qd->qhw", window, queries) for window in unit]
    return torch.from_numpy(np.stack(maps))


def queries(unit: bool = True) -> TextBank:
    """Seven queries of four classes; `unit=False` gives them lengths between 0.5 and 2."""
    features = torch.randn(7, 24, generator=torch.Generator().manual_seed(8))
    lengths = torch.ones(7, 1) if unit else torch.linspace(0.5, 2, 7)[:, None]
    return TextBank(F.normalize(features, dim=1) * lengths, torch.tensor([0, 0, 1, 2, 2, 2, 3]), 4)


def unit_distance(features: Tensor, expected: Tensor) -> float:
    """Largest difference between entries of the unit features."""
    return (F.normalize(features.double(), dim=1) - F.normalize(expected.double(), dim=1)).abs().max().item()


def assert_equal_features(features: Tensor, expected: Tensor) -> None:
    assert features.shape == expected.shape
    assert unit_distance(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tail", [*(dict(type=name) for name in METHODS), *OPTIONS], ids=str)
def test_features_equal_the_formula(tail, size, build_dense, pictures):
    dense, image = build_dense(tail), pictures(2, *size)
    assert_equal_features(dense(image), expected_features(dense, image, tail))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tail", SCORED, ids=str)
def test_scores_equal_the_formula(tail, size, build_dense, pictures):
    dense, image, text = build_dense(tail), pictures(2, *size), queries()
    scores, expected = dense.score(image, text), expected_scores(dense, image, tail, text)
    assert scores.dtype == torch.float32
    assert scores.shape == expected.shape == (2, 7, *grid_of(image))
    assert (scores - expected).abs().max() < 1e-4


@pytest.mark.parametrize("tail", OPTIONS, ids=str)
def test_option_changes_the_features(tail, build_dense, pictures):
    image = pictures(2, 24, 40)
    assert unit_distance(build_dense(tail)(image), build_dense(dict(type=tail["type"]))(image)) > 1e-3


@pytest.mark.parametrize("tail", [tail for tail in SCORED if len(tail) > 1], ids=str)
def test_option_changes_the_scores_alone_or_both(tail, build_dense, pictures):
    image, text = pictures(2, 24, 40), queries()
    dense, plain = build_dense(tail), build_dense(dict(type=tail["type"]))
    assert (dense.score(image, text) - plain.score(image, text)).abs().max() > 1e-3
    assert torch.equal(dense(image), plain(image)) == ("blocks" not in tail)


@pytest.mark.parametrize("tail", SCORED, ids=str)
def test_batch_of_two_equals_two_of_one(tail, build_dense, pictures):
    dense, image, text = build_dense(tail), pictures(2, 24, 40), queries()
    for read in (dense, lambda window: dense.score(window, text)):
        apart = torch.cat([read(image[:1]), read(image[1:])])
        torch.testing.assert_close(read(image), apart, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(apart[0], apart[1], atol=1e-2)


@pytest.mark.parametrize("colour", [0.0, 2.0])
@pytest.mark.parametrize("tail", SCORED, ids=str)
def test_blank_picture_is_finite(tail, colour, build_dense):
    dense, image = build_dense(tail), torch.full((1, 3, 32, 24), colour)
    features = dense(image)
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0
    assert dense.score(image, queries()).isfinite().all()


@pytest.mark.parametrize("tail", SCORED, ids=str)
def test_bf16_is_near_fp32(tail, build_dense, pictures):
    image, text = pictures(2, 24, 40), queries()
    exact, rounded = build_dense(tail), build_dense(tail)
    rounded.set_precision("bf16")
    features, scores = rounded(image), rounded.score(image, text)
    assert features.dtype == torch.bfloat16
    assert scores.dtype == torch.float32
    assert F.cosine_similarity(features.float(), exact(image), dim=1).min() > 0.99
    assert F.cosine_similarity(scores, exact.score(image, text), dim=1).min() > 0.99


@pytest.mark.parametrize("name", METHODS)
def test_layer_scale_is_honoured(name, register, build_dense, pictures):
    vision = TINY["vision_cfg"] | {"ls_init_value": 0.3}
    tail = dict(type=name)
    dense = build_dense(tail, arch=register("tiny_paths_scaled", TINY | {"vision_cfg": vision}))
    image = pictures(2, 32, 32)
    assert_equal_features(dense(image), expected_features(dense, image, tail))


@pytest.mark.parametrize(
    ("written", "block"), [(1, 1), (4, 1), (6, 2), (7, 2), (8, 3), (9, 3), (10, 3), (12, 4)], ids=str
)
@pytest.mark.parametrize("name", METHODS)
def test_blocks_are_scaled_to_the_tower(name, written, block, build_dense, pictures):
    blocks = (lambda number: (number,)) if name == "ITACLIP" else (lambda number: number)
    image = pictures(1, 32, 32)
    scaled = build_dense(dict(type=name, blocks=blocks(written)))(image)
    assert torch.equal(scaled, build_dense(dict(type=name, blocks=blocks(block), tower=None))(image))
    others = [build_dense(dict(type=name, blocks=blocks(b), tower=None))(image) for b in range(1, 5) if b != block]
    assert min(unit_distance(scaled, other) for other in others) > 1e-3


def test_halves_are_rounded_up_and_blocks_that_meet_count_once(build_dense, pictures):
    image = pictures(1, 32, 32)

    def read(**options) -> Tensor:
        return build_dense(dict(type="ITACLIP") | options)(image)

    assert torch.equal(read(blocks=(5,), tower=8), read(blocks=(3,), tower=None))  # 2.5, which round() makes 2
    assert torch.equal(read(), read(blocks=(2, 3), tower=None))
    assert unit_distance(read(), read(blocks=(3,), tower=None)) > 1e-3


@pytest.mark.parametrize(
    "tail", [*(dict(type=name) for name in METHODS), SURGERY, dict(type="ITACLIP", blocks=(2, 5))], ids=str
)
def test_a_tower_too_shallow_is_refused(tail, build_dense):
    with pytest.raises(InputError, match="4"):
        build_dense(tail | dict(tower=None))


def test_gem_temperature_is_the_windows_own(build_dense, pictures, monkeypatch):
    dense, image = build_dense(dict(type="GEM")), pictures(2, 32, 32)
    image[1] = 0.05 * image[1] + 1.5
    with torch.no_grad():  # a few strong channels, so that the lengths of LN1's outputs differ between windows
        for block in dense.clip.visual.transformer.resblocks:
            block.ln_1.weight[:6] *= 8
    lengths = []
    own = paths.gem_temperature
    monkeypatch.setattr(paths, "gem_temperature", lambda p: lengths.append(own(p)) or lengths[-1])
    expected = expected_features(dense, image, dict(type="GEM"))
    assert_equal_features(dense(image), expected)
    first, second = np.array(lengths).reshape(2, 2)
    assert (np.abs(first - second) > 0.05 * second).any()
    shared = iter([*(first + second) / 2] * 2)
    monkeypatch.setattr(paths, "gem_temperature", lambda p: next(shared))
    assert unit_distance(expected_features(dense, image, dict(type="GEM")), expected) > 1e-3


def test_gem_reads_only_the_directions_of_queries_and_keys(build_dense, pictures):
    image = pictures(1, 32, 32)
    dense = build_dense(dict(type="GEM", blocks=1, tower=None))
    before = dense(image)
    attn = dense.clip.visual.transformer.resblocks[-1].attn
    with torch.no_grad():  # the rows of q and k
        attn.in_proj_weight[: 2 * 64] *= 2
        attn.in_proj_bias[: 2 * 64] *= 2
    torch.testing.assert_close(dense(image), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_feature_surgery_keeps_the_arg_max_of_the_weighted_cosines(seed, build_dense, pictures):
    image, text = pictures(2, 32, 32, seed), queries()
    dense = build_dense(SURGERY)
    scores, cosines = dense.score(image, text), build_dense(dict(type="CLIPSurgery")).score(image, text)
    start = dense.clip.encode_image(image, normalize=True)  # open_clip's own class token, at the native grid
    weights = (2 * start @ text.features.T).softmax(1)
    weights = (weights / weights.mean(1, keepdim=True))[:, :, None, None]
    assert torch.equal(scores.argmax(1), (weights * cosines).argmax(1))
    difference = weights * cosines - scores
    torch.testing.assert_close(difference, difference[:, :1].expand_as(difference), rtol=0, atol=1e-5)
    torch.testing.assert_close(scores.mean(1), torch.zeros(2, 4, 4), rtol=0, atol=1e-6)
    assert not torch.equal(scores.argmax(1), cosines.argmax(1))  # the weights can and here do change it


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_itaclip_views_equal_the_formula(size, build_dense, pictures):
    image = pictures(2, *size)
    views = build_dense(dict(type="ITACLIP")).tail.views(image)
    assert views.shape == (10, 3, *size)
    np.testing.assert_allclose(views.numpy(), paths.views(image.double().numpy()), rtol=0, atol=1e-5)


def test_only_itaclip_with_engineering_has_views(build_dense, pictures):
    image = pictures(2, 24, 40)
    for tail in (dict(type="GEM"), dict(type="CLIPSurgery"), SURGERY, dict(type="ITACLIP", engineering=None)):
        assert torch.equal(build_dense(tail).tail.views(image), image)


@pytest.mark.parametrize("engineering", [None, 0.75])
def test_itaclip_takes_text_of_any_length(engineering, build_dense, pictures):
    tail = dict(type="ITACLIP", engineering=engineering)
    dense, image, text = build_dense(tail), pictures(2, 24, 40), queries(unit=False)
    scores = dense.score(image, text)
    assert (scores - expected_scores(dense, image, tail, text)).abs().max() < 1e-4
    lengths = text.features.norm(dim=1)[:, None, None]
    torch.testing.assert_close(scores, lengths * dense.score(image, queries()), rtol=1e-4, atol=1e-5)
