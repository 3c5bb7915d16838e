"""ResCLIP against its equations in float64, its feedback's parts against loops, and what every tail owes."""

from dataclasses import replace

import formulas_resclip as formulas
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas_resclip import Settings
from mosaics import bank, mosaic
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods.resclip import patch_labels
from sclip_seg.picture.refine.pamr import PAMR
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words.text import TextBank

# Sizes of windows, and a seed for each that gives labels worth a feedback and no pixel near a tie.
SEEDS = {(32, 32): 8, (24, 40): 10, (48, 16): 8, (36, 30): 8, (16, 80): 8}
BASES = [
    dict(base="naclip"),
    dict(base="clearclip"),
    dict(base="vanilla"),
    dict(base="sclip", residual=True, mlp=True),
]
SIGHTS, BLURS, SCALINGS = ("released", "line", "component"), ("raster", "grid"), ("global", "row")


@pytest.fixture(scope="module")
def entering(build_dense):
    """`entering(image)`: what enters the first block (N, T, C) in float64, all blocks' weights, the grid."""
    dense = build_dense()
    dense.tail.reads = lambda depth: (-1 - depth,)

    def run(image: Tensor):
        trace = dense.trace(image)
        return trace.states[-1].double().numpy(), formulas.blocks_of(dense.clip.visual), trace.grid

    return run


@pytest.fixture(scope="module")
def expect(entering):
    """`expect(image, settings)`: the formula's outcome for each window, and the text that it was given."""

    def run(image: Tensor, settings: Settings) -> tuple[list[formulas.Outcome], TextBank]:
        states, blocks, grid = entering(image)
        pixels = image.double().numpy()

        def outcomes(text, s: Settings) -> list[formulas.Outcome]:
            return [formulas.resclip(x, y, text, blocks, grid, s) for x, y in zip(states, pixels, strict=True)]

        text = bank(features_of(outcomes(None, replace(settings, sfr=None))))
        return outcomes(text.features.double().numpy(), settings), text

    return run


def features_of(outcomes: list[formulas.Outcome]) -> Tensor:
    return torch.from_numpy(np.stack([outcome.features for outcome in outcomes]))


def tail(**options) -> dict:
    return dict(type="ResCLIP", **options)


def distance(features: Tensor, others: Tensor) -> float:
    """Largest difference between unit features."""
    return float((F.normalize(features.double(), dim=1) - F.normalize(others.double(), dim=1)).abs().max())


def fp32_labels(dense: DenseCLIP, image: Tensor, text: TextBank, s: Settings) -> list[list[int]]:
    """Each window's labels (P,) by this package's parts; `dense` is the method without its feedback."""
    maps = F.interpolate(dense.score(image, text), image.shape[2:], mode="bilinear", align_corners=False)
    maps = [PAMR(10, (8, 16))(*pair) if s.pamr else pair[0] for pair in zip(maps, image, strict=True)]
    grid = (image.shape[2] // 8, image.shape[3] // 8)
    return [patch_labels((s.logit_scale * m).softmax(0), s.threshold, 8, grid).tolist() for m in maps]


def assert_equal_features(features: Tensor, expected: Tensor) -> None:
    assert features.shape == expected.shape
    assert distance(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


def check(options: dict, size: tuple[int, int], build_dense, expect) -> list[formulas.Outcome]:
    """The method equals the formula; its labels and the formula's are the same, by a margin."""
    settings, image = Settings(**options), mosaic(*size, SEEDS[size])
    outcomes, text = expect(image, settings)
    assert_equal_features(build_dense(tail(**options))(image, text), features_of(outcomes))
    if settings.sfr is not None:
        assert min(outcome.margin for outcome in outcomes) > 1e-5
        without = build_dense(tail(**options | dict(sfr=None)))
        assert fp32_labels(without, image, text, settings) == [outcome.labels.tolist() for outcome in outcomes]
    return outcomes


@pytest.mark.parametrize("size", SEEDS, ids=str)
@pytest.mark.parametrize("base", BASES, ids=lambda base: base["base"])
def test_features_equal_the_formula(base, size, build_dense, expect):
    outcomes = check(base | dict(threshold=0.4), size, build_dense, expect)
    assert max(len(set(outcome.labels)) for outcome in outcomes) > 1


@pytest.mark.parametrize("off", [dict(rcs=None), dict(sfr=None), dict(rcs=None, sfr=None)], ids=str)
@pytest.mark.parametrize("base", BASES, ids=lambda base: base["base"])
def test_either_correction_can_be_off(base, off, build_dense, expect):
    outcomes = check(base | dict(threshold=0.4) | off, (24, 40), build_dense, expect)
    both, _ = expect(mosaic(24, 40, SEEDS[24, 40]), Settings(**base, threshold=0.4))
    assert distance(features_of(outcomes), features_of(both)) > 1e-3


@pytest.mark.parametrize(
    "option",
    [
        dict(residual=True),
        dict(mlp=True),
        dict(sigma=1.5),
        dict(rcs=0.3),
        dict(rcs_scale=1.0),
        dict(rcs_blocks=(1, 3), tower=None),
        dict(rcs_blocks=(1, 7)),
        dict(sfr=0.6),
        dict(sfr_scale=1.2),
        dict(threshold=0.9),
        dict(logit_scale=8.0),
        dict(pamr=False),
        dict(sight="line"),
        dict(sight="component"),
        dict(blur="grid"),
        dict(scaling="row"),
        dict(sight="component", blur="grid", scaling="row"),
    ],
    ids=str,
)
def test_options_equal_the_formula(option, build_dense, expect):
    # A narrow blur and a strong feedback, so that an option not heeded cannot hide in the tolerance.
    usual = dict(threshold=0.4, sigma=0.7, sfr_scale=6.0)
    size = (16, 80)
    outcomes = check(usual | option, size, build_dense, expect)
    plain, _ = expect(mosaic(*size, SEEDS[size]), Settings(**usual))
    assert distance(features_of(outcomes), features_of(plain)) > 5e-4


def test_half_rounds_the_feedback_as_released(build_dense, expect):
    size = (24, 40)
    options, image = dict(threshold=0.4, sfr_scale=60.0), mosaic(*size, SEEDS[size])  # the scale shows the rounding
    rounded, exact = (
        check(options | dict(half=True), size, build_dense, expect),
        check(options, size, build_dense, expect),
    )
    _, text = expect(image, Settings(**options))
    assert distance(features_of(rounded), features_of(exact)) > 1e-4
    assert distance(build_dense(tail(**options, half=True))(image, text), features_of(rounded)) < 1e-5
    assert distance(build_dense(tail(**options))(image, text), features_of(exact)) < 1e-5


def test_unsure_pixels_count_as_query_0(build_dense, expect):
    size = (24, 40)
    some, all_ = (check(dict(threshold=at, pamr=False), size, build_dense, expect) for at in (0.4, 1.0))
    assert 0 < sum(outcome.unsure for outcome in some) < 2 * 24 * 40
    assert any(outcome.labels.any() for outcome in some)
    assert not any(outcome.labels.any() for outcome in all_)


def test_without_blending_it_is_naclip(build_dense):
    image = mosaic(24, 40, 1)
    plain = build_dense(dict(type="LastBlock", attention="naclip", residual=False, mlp=False))(image)
    off = build_dense(tail(rcs=0.0, rcs_scale=1.0, sfr=0.0, sfr_scale=1.0))
    torch.testing.assert_close(off(image, bank(plain)), plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(build_dense(tail(rcs=None, sfr=None))(image), plain, rtol=1e-4, atol=1e-5)
    assert distance(build_dense(tail())(image, bank(plain)), plain) > 1e-2


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (dict(), 2.0),
        (dict(rcs_scale=1.3, rcs=0.2, base="clearclip"), 1.3),
        (dict(rcs=None), 1.0),
        (dict(base="sclip"), 2 * (0.5 * 2 + 0.5)),
        (dict(base="sclip", rcs=None), 2.0),
    ],
    ids=str,
)
def test_rows_of_the_attention_sum_to_the_scale(options, total, build_dense):
    """With equal values everywhere, what comes out is the row sum times that value."""
    dense, image = build_dense(tail(**options)), mosaic(32, 32, 0)
    visual = dense.clip.visual
    attention = visual.transformer.resblocks[-1].attn
    attention.in_proj_weight[-64:] = 0
    value = attention.out_proj.weight @ attention.in_proj_bias[-64:]
    expected = visual.ln_post(total * value + attention.out_proj.bias) @ visual.proj
    features = dense(image, bank(torch.randn(2, 24, 4, 4, generator=torch.Generator().manual_seed(0))))
    torch.testing.assert_close(features, expected[:, None, None].expand_as(features), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("base", BASES, ids=lambda base: base["base"])
def test_batch_of_two_equals_two_of_one(base, build_dense, expect):
    image = mosaic(24, 40, SEEDS[24, 40])
    _, text = expect(image, Settings(**base, threshold=0.4))
    dense = build_dense(tail(**base, threshold=0.4))
    apart = torch.cat([dense(image[:1], text), dense(image[1:], text)])
    torch.testing.assert_close(dense(image, text), apart, rtol=1e-4, atol=1e-5)
    assert distance(apart[:1], apart[1:]) > 1e-2


def test_scores_are_the_cosines_of_the_features(build_dense, expect):
    image = mosaic(24, 40, SEEDS[24, 40])
    _, text = expect(image, Settings())
    dense = build_dense(tail())
    expected = torch.einsum("ndhw,qd->nqhw", F.normalize(dense(image, text), dim=1), text.features)
    torch.testing.assert_close(dense.score(image, text), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [dict(), dict(sight="line", scaling="row"), dict(sight="component", blur="grid")])
@pytest.mark.parametrize(("colour", "size"), [(0.0, (32, 24)), (2.0, (36, 30)), (1.0, (8, 8))])
def test_blank_picture_is_finite(options, colour, size, build_dense, expect):
    _, text = expect(mosaic(32, 32, 0), Settings(sfr=None))
    features = build_dense(tail(**options))(torch.full((1, 3, *size), colour), text)
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("base", BASES, ids=lambda base: base["base"])
def test_bf16_runs(base, half, build_dense, expect):
    image = mosaic(24, 40, SEEDS[24, 40])
    _, text = expect(image, Settings(**base))
    rounded = build_dense(tail(**base, half=half))
    rounded.set_precision("bf16")
    features, scores = rounded(image, text), rounded.score(image, text)
    assert features.dtype == torch.bfloat16
    assert features.isfinite().all()
    assert (scores.dtype, scores.shape) == (torch.float32, (2, 6, 3, 5))
    assert scores.isfinite().all()


def test_feedback_wants_text(build_dense):
    image = mosaic(32, 32, 0)
    with pytest.raises(InputError, match="depends on the words"):
        build_dense(tail())(image)
    assert build_dense(tail(sfr=None))(image).isfinite().all()


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("base", ("naclip", "clearclip", "vanilla", "sclip")),
        ("sight", SIGHTS),
        ("blur", BLURS),
        ("scaling", SCALINGS),
    ],
)
def test_unknown_choices_are_named(option, choices, build_dense):
    with pytest.raises(InputError, match="'neither'") as error:
        build_dense(tail(**{option: "neither"}))
    assert all(choice in str(error.value) for choice in choices)
