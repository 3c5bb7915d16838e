"""Every registered attention and tail against its formula, and what all of them owe."""

from functools import partial
from pathlib import Path

import formulas
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tail_settings import tail_settings
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.sclip import projection
from sclip_seg.registry import ATTENTION, STAGES, TAILS
from sclip_seg.towers.attention import Attention
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.towers.trace import QKV
from sclip_seg.words.text import TextBank

ATTENTIONS = sorted(ATTENTION.module_dict)
FORMULA_TAILS = {"LastBlock", "MaskCLIP"}
# In a test file of their own.
OWN_FORMULAS = {"GEM", "CLIPSurgery", "ITACLIP", "ResCLIP", "SCCLIP", "CLIPtrase", "ProxyCLIP", "Trident", "GLACLIP"}
OWN_FORMULAS |= {"FSA", "CLIPer", "SFP", "DIHCLIP", "CASS", "RFCLIP", "CorrCLIP", "CorrCLIPv2", "RADSeg"}
OWN_FORMULAS_OF_STAGES = {"LPOSS", "PresenceBlend", "TextAdjuster", "TemplateExperts", "ZSSeg", "SCAN", "Probabilities"}
OWN_FORMULAS_OF_STAGES |= {"Memory"}
SIZES = [(32, 32), (24, 40), (48, 16)]
REDUCED = dict(residual=False, mlp=False)
OPTIONS = {
    "random_projection": [dict(), dict(n=3, seed=2), dict(n=3, seed=2, reduce="mean")],
    "naclip": [dict(), dict(sigma=1.5)],
    "nonly": [dict(), dict(sigma=1.5)],
    "combination": [
        dict(),
        dict(of=("qq", "identity"), reduce="mean"),
        dict(of=("csa", dict(type="naclip", sigma=1.5), "nonly")),
    ],
    "scra": [dict(), dict(sharpness=1.0)],
    "pearl": [dict(), dict(alpha=0.3), dict(alpha=0.0, steps=2), dict(steps=None)],
}
CASES = [(name, options) for name in ATTENTIONS for options in OPTIONS.get(name, [dict()])]


def formula(name: str, options: dict, width: int = 64):
    """The attention formula of `name` with `options` bound."""
    if name == "random_projection":
        count, seed = options.get("n", 1), options.get("seed", 0)
        matrices = [projection(width, seed, index).double().numpy() for index in range(count)]
        options = dict(matrices=matrices, reduce=options.get("reduce", "sum"))
    return partial(formulas.ATTENTION_FORMULAS[name], **options)


def reference(dense: DenseCLIP, image: Tensor, attention, **settings) -> Tensor:
    """Features by the float64 formula, from the last block's input as the trunk computes it."""
    trace = dense.trace(image)
    w = formulas.LastBlockWeights.of(dense.clip.visual)
    return torch.from_numpy(
        formulas.last_block(trace.before(-1).double().numpy(), w, trace.grid, attention, **settings)
    )


def assert_equal_features(features: Tensor, expected: Tensor) -> None:
    """Unit features within 1e-4, and lengths within 1e-4 of each other."""
    assert features.shape == expected.shape
    features = features.double()
    assert (F.normalize(features, dim=1) - F.normalize(expected, dim=1)).abs().max() < 1e-4
    torch.testing.assert_close(features.norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


def last_qkv(dense: DenseCLIP, image: Tensor) -> QKV:
    return dense.trace(image).qkv(-1)


def test_no_attention_no_tail_and_no_stage_is_without_a_formula():
    assert set(ATTENTION.module_dict) == set(formulas.ATTENTION_FORMULAS)
    assert set(TAILS.module_dict) == FORMULA_TAILS | OWN_FORMULAS
    assert set(STAGES.module_dict) == OWN_FORMULAS_OF_STAGES
    files = [path for shelf in ("methods", "picture") for path in (Path(__file__).parents[1] / shelf).glob("test_*.py")]
    tests = "".join(path.read_text() for path in files if path != Path(__file__))
    assert all(f'"{part}"' in tests for part in OWN_FORMULAS | OWN_FORMULAS_OF_STAGES)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("block", [dict(), REDUCED], ids=["whole", "reduced"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_features_equal_the_formula(name, options, block, size, build_dense, pictures):
    dense = build_dense(dict(type="LastBlock", attention=dict(type=name) | options) | block)
    image = pictures(2, *size)
    assert_equal_features(dense(image), reference(dense, image, formula(name, options), **block))


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("mlp", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_block_switches_equal_the_formula(residual, mlp, scale, build_dense, pictures):
    block = dict(residual=residual, mlp=mlp, attention_scale=scale)
    dense = build_dense(dict(type="LastBlock", attention="csa", **block))
    image = pictures(2, 24, 32)
    expected = reference(dense, image, formula("csa", {}), **block)
    assert_equal_features(dense(image), expected)
    plain = build_dense(dict(type="LastBlock", attention="csa"))(image)
    if block != dict(residual=True, mlp=True, attention_scale=1.0):
        assert not torch.allclose(plain, dense(image), atol=1e-2)


def row_sum(name: str, options: dict) -> float:
    """What a row of the attention must sum to: its maps, unless their mean is taken."""
    maps = {"csa": 2, "random_projection": options.get("n", 1), "combination": 3}.get(name, 1)
    if options.get("reduce") == "mean":
        return 1.0
    return 4.0 if "csa" in options.get("of", ()) else float(maps)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_product_equals_the_weights_and_rows_sum(name, build_dense, pictures):
    qkv = last_qkv(build_dense(), pictures(2, 24, 40))
    for options in OPTIONS.get(name, [dict()]):
        attention = ATTENTION.build(dict(type=name) | options)(qkv)
        weights = attention.weights() if isinstance(attention, Attention) else attention
        weights = weights.expand(2, qkv.heads, 16, 16)
        torch.testing.assert_close(attention @ qkv.v, weights @ qkv.v, rtol=1e-4, atol=1e-5)
        expected = torch.full((2, qkv.heads, 16), row_sum(name, options))
        torch.testing.assert_close(weights.sum(-1), expected, rtol=1e-5, atol=0)
        assert weights.min() >= 0


@pytest.mark.parametrize("tail", [dict(type="LastBlock", attention=n) for n in ATTENTIONS] + [dict(type="MaskCLIP")])
def test_batch_of_two_equals_two_of_one(tail, build_dense, pictures):
    dense, image = build_dense(tail), pictures(2, 24, 40)
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    torch.testing.assert_close(dense(image), apart, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(apart[0], apart[1], atol=1e-2)


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("colour", [0.0, 2.0])
def test_blank_picture_is_finite(name, colour, build_dense):
    dense = build_dense(dict(type="LastBlock", attention=name, **REDUCED))
    features = dense(torch.full((1, 3, 32, 24), colour))
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0


@pytest.mark.parametrize("name", ATTENTIONS)
def test_bf16_is_near_fp32(name, build_dense, pictures):
    image, tail = pictures(1, 24, 40), dict(type="LastBlock", attention=name)
    exact, rounded = build_dense(tail), build_dense(tail)
    rounded.set_precision("bf16")
    features = rounded(image)
    assert features.dtype == torch.bfloat16
    assert features.isfinite().all()
    assert F.cosine_similarity(features.float(), exact(image), dim=1).min() > 0.995


def test_random_projection_is_deterministic_and_seeded(build_dense, pictures):
    qkv = last_qkv(build_dense(), pictures(1, 32, 32))

    def draw(**options) -> Tensor:
        return ATTENTION.build(dict(type="random_projection") | options)(qkv).weights()

    projection.cache_clear()
    first = draw(seed=3)
    projection.cache_clear()
    torch.manual_seed(99)
    assert torch.equal(first, draw(seed=3))
    assert not torch.allclose(first, draw(seed=4), atol=1e-2)
    assert not torch.allclose(draw(n=2) / 2, draw(n=1), atol=1e-2)  # the two matrices differ
    torch.testing.assert_close(draw(n=4) / 4, draw(n=4, reduce="mean"))


def test_random_projection_has_variance_one_over_the_width():
    matrix = projection(256, seed=7, index=0)
    assert abs(matrix.mean()) < 1e-3
    assert abs(matrix.var() * 256 - 1) < 0.02
    distinct = {float(projection(8, seed, index)[0, 0]) for seed in range(4) for index in range(4)}
    assert len(distinct) == 16


@pytest.mark.parametrize("options", [dict(n=0), dict(reduce="max")])
def test_random_projection_refuses_what_it_cannot_do(options, build_dense):
    with pytest.raises(InputError, match=str(next(iter(options.values())))):
        build_dense(dict(type="LastBlock", attention=dict(type="random_projection") | options))


def test_sigma_widens_the_neighbourhood(build_dense, pictures):
    qkv = last_qkv(build_dense(), pictures(1, 32, 32))
    narrow, wide, kk = (
        ATTENTION.build(dict(type=n) | o)(qkv).weights()
        for n, o in (("naclip", dict(sigma=0.5)), ("naclip", dict(sigma=5.0)), ("kk", {}))
    )
    own = range(1, 17)
    assert (narrow[..., own, own] > wide[..., own, own]).all()
    torch.testing.assert_close(narrow[:, :, 0], kk[:, :, 0])  # the class token's row has no neighbours


@pytest.mark.parametrize("block", [dict(), REDUCED], ids=["whole", "reduced"])
def test_maskclip_features_are_the_value_path(block, build_dense, pictures):
    dense, image = build_dense(dict(type="MaskCLIP") | block), pictures(2, 24, 40)
    assert_equal_features(dense(image), reference(dense, image, formula("identity", {}), **block))


def cosines(windows: int, grid: tuple[int, int]) -> Tensor:
    """Scores (N, 5, h, w) that at scale 100 are sure at some patches only; query 1 is nowhere probable."""
    scores = 0.02 * torch.randn(windows, 5, *grid, generator=torch.Generator().manual_seed(5))
    scores[:, 1] -= 0.1
    return scores


def test_maskclip_prompt_denoising_equals_the_formula(build_dense, pictures):
    dense, scores = build_dense(dict(type="MaskCLIP", denoise_prompts=0.5)), cosines(2, (3, 5))
    revised = dense.tail.revise(scores, dense.trace(pictures(2, 24, 40)))
    for window in range(2):
        expected = formulas.denoise_prompts(scores[window].flatten(1).double().numpy(), 0.5)
        np.testing.assert_allclose(revised[window].flatten(1).numpy(), expected, rtol=1e-6)
    removed = (revised == -100).all((2, 3))
    assert removed[:, 1].all()
    assert not removed.all()


@pytest.mark.parametrize("denoise", [None, 0.5])
@pytest.mark.parametrize("below", [1.0, 0.9])
@pytest.mark.parametrize("rule", ["released", "paper"])
def test_maskclip_key_smoothing_equals_the_formula(rule, below, denoise, build_dense, pictures):
    tail = dict(type="MaskCLIP", smooth_keys=rule, smooth_below=below, denoise_prompts=denoise)
    dense, image = build_dense(tail), pictures(2, 24, 40)
    trace = dense.trace(image)
    w = formulas.LastBlockWeights.of(dense.clip.visual)
    scores = cosines(2, trace.grid)
    revised = dense.tail.revise(scores, trace).flatten(2).double().numpy()
    for window, x in enumerate(trace.before(-1).double().numpy()):
        s = scores[window].flatten(1).double().numpy()
        s = s if denoise is None else formulas.denoise_prompts(s, denoise)
        expected = formulas.smooth_keys(s, formulas.output_keys(x, w, trace.grid), below, rule)
        np.testing.assert_allclose(revised[window], expected, rtol=0, atol=1e-4)
        sure = np.stack([formulas.softmax(100 * s[:, n]) for n in range(s.shape[1])]).max(1) >= below
        assert 0 < sure.sum() < len(sure) if below == 0.9 else not sure.any()


@pytest.mark.parametrize("rule", ["released", "paper"])
def test_maskclip_revised_is_finite_on_a_blank_picture(rule, build_dense):
    dense = build_dense(dict(type="MaskCLIP", smooth_keys=rule, denoise_prompts=0.5))
    image = torch.zeros(1, 3, 32, 32)
    assert dense.tail.revise(cosines(1, (4, 4)), dense.trace(image)).isfinite().all()


@pytest.fixture(scope="module")
def text():
    """Seven random unit queries of four classes."""
    owner = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    return TextBank(F.normalize(torch.randn(7, 24, generator=torch.Generator().manual_seed(5)), dim=1), owner, 4)


@pytest.mark.parametrize("name", sorted(TAILS.module_dict))
def test_scores_of_two_windows_are_those_of_each(name, build_dense, pictures, text):
    dense, image = build_dense(tail_settings(name)), pictures(2, 48, 56)
    apart = torch.cat([dense.score(image[:1], text), dense.score(image[1:], text)])
    assert apart.shape[:2] == (2, 7)
    assert apart.dtype == torch.float32
    torch.testing.assert_close(dense.score(image, text), apart, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(apart[0], apart[1], atol=1e-2)


@pytest.mark.parametrize("name", ["LastBlock", "MaskCLIP", "GEM", "CLIPSurgery", "SCCLIP", "SFP", "DIHCLIP", "ResCLIP"])
def test_scores_are_cosines(name, build_dense, pictures, text):
    dense, image = build_dense(tail_settings(name)), pictures(2, 48, 56)
    expected = torch.einsum("ndhw,qd->nqhw", F.normalize(dense(image, text), dim=1), text.features)
    torch.testing.assert_close(dense.score(image, text), expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", sorted(TAILS.module_dict))
def test_scores_are_finite_in_every_precision(name, precision, build_dense, pictures, text):
    dense = build_dense(tail_settings(name))
    dense.set_precision(precision)
    for image in (pictures(1, 48, 56), torch.zeros(1, 3, 48, 56), 3 * torch.ones(1, 3, 24, 40)):
        assert dense.score(image, text).isfinite().all()


@pytest.mark.parametrize(
    ("tail", "named"),
    [
        (dict(type="LastBlock", attention="qp"), "'qp'"),
        (dict(type="LastBlock", attention=dict(type="naclip", sigmo=2.0)), "'sigmo'"),
        (dict(type="LastBlock", attention=dict(type="csa", n=2)), "'n'"),
        (dict(type="MaskCLIP", smooth_keys="code"), "'code'"),
    ],
    ids=["attention", "option", "option of another", "rule"],
)
def test_unknown_names_are_named(tail, named, build_dense):
    with pytest.raises(InputError, match=named):
        build_dense(tail)
