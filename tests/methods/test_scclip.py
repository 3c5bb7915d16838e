"""SC-CLIP: its features against the float64 formula, its detectors against scikit-learn, and the spec's assertions."""

from dataclasses import replace

import formulas_scclip as formulas
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from formulas_paths import tower_weights
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.methods import scclip
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words.text import TextBank

SIZES = [(32, 32), (24, 40), (48, 16), (56, 48)]
DETECTORS = ["released", "norm", "lof"]
TINY = formulas.Settings(mid=3, post=1, fused=(1, 2, 3))  # blocks 9, 4 and 4 to 10 of 12, in a tower of 4
LARGE = dict(mid=17, post=7, fused=tuple(range(9, 20)), tower=24, class_weight=0.1)  # published for ViT-L/14
OPTIONS = [
    (LARGE, dict(mid=3, post=1, fused=(2, 3), class_weight=0.1)),
    (dict(mid=2, post=3, fused=(1, 3), tower=None), dict(mid=2, post=3, fused=(1, 3))),
    *((option, option) for option in (dict(detector="norm"), dict(detector="lof"))),
    *((option, option) for option in (dict(neighbours=4), dict(class_weight=0.0))),
    *((option, option) for option in (dict(beta=0.1), dict(beta=1.5), dict(sharpness=1.0))),
]


def reference(dense: DenseCLIP, image: Tensor, **changes) -> Tensor:
    """Features by the float64 formula, from the trunk's start as the trunk computes it."""
    starts = []
    hook = dense.clip.visual.ln_pre.register_forward_hook(lambda module, given, out: starts.append(out))
    trace = dense.trace(image)
    hook.remove()
    weights, settings = tower_weights(dense.clip.visual), replace(TINY, **changes)
    return torch.from_numpy(formulas.scclip(starts[0].double().numpy(), weights, trace.grid, settings))


def far(features: Tensor, other: Tensor) -> float:
    """The largest difference between unit features."""
    return float((F.normalize(features.double(), dim=1) - F.normalize(other.double(), dim=1)).abs().max())


def random_tokens(windows: int, patches: int, width: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(windows, patches, width, generator=torch.Generator().manual_seed(seed))


def random_outliers(windows: int, patches: int, share: float = 0.4) -> Tensor:
    return torch.rand(windows, patches, generator=torch.Generator().manual_seed(1)) < share


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_features_equal_the_formula(size, build_dense, pictures):
    """With 30 neighbours in the largest alone: where they are all other patches, the two farthest apart are a tie."""
    neighbours = 30 if size == (56, 48) else 4
    dense, image = build_dense(dict(type="SCCLIP", neighbours=neighbours)), pictures(2, *size)
    features, expected = dense(image), reference(dense, image, neighbours=neighbours)
    assert features.shape == expected.shape
    assert far(features, expected) < 1e-4
    torch.testing.assert_close(features.double().norm(dim=1), expected.norm(dim=1), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("tail", "changes"), OPTIONS, ids=str)
def test_options_equal_the_formula(tail, changes, build_dense, pictures):
    dense, image = build_dense(dict(type="SCCLIP") | tail), pictures(2, 56, 48)
    features = dense(image)
    assert far(features, reference(dense, image, **changes)) < 1e-4
    assert far(features, build_dense(dict(type="SCCLIP"))(image)) > 1e-3


def test_attention_rows_sum_to_one(build_dense, pictures):
    """And no patch is less similar to itself than the mean M, so that no row is left without an entry."""
    dense = build_dense(dict(type="SCCLIP"))
    trace = dense.trace(pictures(2, 40, 56))
    t = trace.qkv(-1)
    similarity = scclip.similarity(trace.hidden(2)[:, 1:])
    assert (similarity.diagonal(dim1=1, dim2=2) >= similarity.mean((1, 2))[:, None]).all()
    weights = dense.tail.weights(replace(t, tokens=t.tokens[:, 1:], prefix=0), similarity).weights()
    assert weights.shape == (2, 4, 35, 35)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 35))


def test_scores_are_the_cosines(build_dense, pictures):
    dense, image = build_dense(dict(type="SCCLIP")), pictures(2, 40, 56)
    queries = F.normalize(random_tokens(1, 5, 24)[0], dim=-1)
    scores = dense.score(image, TextBank(queries, torch.tensor([0, 0, 1, 2, 2]), 3))
    expected = torch.einsum("ndhw,qd->nqhw", F.normalize(reference(dense, image), dim=1), queries.double())
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("detector", DETECTORS)
def test_batch_of_two_equals_two_of_one(detector, build_dense, pictures):
    """Anomalies and mean M are the window's own; the second window's contrast is a tenth of the first's."""
    dense = build_dense(dict(type="SCCLIP", detector=detector))
    image = pictures(2, 56, 48) * torch.tensor([1.0, 0.1])[:, None, None, None]
    apart = torch.cat([dense(image[:1]), dense(image[1:])])
    assert far(dense(image), apart) < 1e-5
    assert far(apart[:1], apart[1:]) > 1e-2
    x = random_tokens(2, 196) * torch.tensor([1.0, 30.0])[:, None, None]
    found = scclip.outliers(x, detector, 30)
    assert torch.equal(found, torch.cat([scclip.outliers(window[None], detector, 30) for window in x]))
    assert (found.sum(1) == 10).all()


@pytest.mark.parametrize("colour", [0.0, 2.0])
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_blank_picture_is_finite(precision, detector, colour, build_dense):
    dense = build_dense(dict(type="SCCLIP", detector=detector))
    dense.set_precision(precision)
    features = dense(torch.full((1, 3, 32, 24), colour))
    assert features.isfinite().all()
    assert features.norm(dim=1).min() > 0


@pytest.mark.filterwarnings("ignore:Duplicate values")
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("grid", [(5, 7), (14, 14)], ids=str)
def test_equal_patches_are_finite(grid, detector, build_dense, pictures):
    """Every M_ij is mean M then, to rounding, and a row of nothing but -∞ has no softmax."""
    dense = build_dense(dict(type="SCCLIP", detector=detector))
    trace, patches = dense.trace(pictures(1, 32, 32)), grid[0] * grid[1]
    for patch in range(1, 9):
        states = {block: x[:, [0] + [patch] * patches] for block, x in trace.states.items()}
        features = dense.tail(replace(trace, states=states, grid=grid), None)
        assert features.shape == (1, 24, *grid)
        assert features.isfinite().all()


def test_a_window_of_one_patch_is_finite(build_dense, pictures):
    assert build_dense(dict(type="SCCLIP"))(pictures(2, 8, 8)).isfinite().all()


@pytest.mark.parametrize("detector", DETECTORS)
def test_bf16_runs(detector, build_dense, pictures):
    dense, image = build_dense(dict(type="SCCLIP", detector=detector)), pictures(2, 56, 48)
    exact = dense(image)
    dense.set_precision("bf16")
    features = dense(image)
    assert features.dtype == torch.bfloat16
    assert features.isfinite().all()
    assert F.cosine_similarity(features.float(), exact, dim=1).median() > 0.98  # single patches may be repaired or not


def test_similarities_beyond_every_cosine_leave_no_patch(build_dense, pictures):
    dense = build_dense(dict(type="SCCLIP", beta=1.01))
    features = dense(pictures(1, 24, 40))
    visual = dense.clip.visual
    nothing = (visual.ln_post.bias @ visual.proj)[None, :, None, None]
    torch.testing.assert_close(features, nothing.expand_as(features))


def test_scores_of_four_points_by_hand():
    """Points 0, 1, 3 and 7, k = 2: squared k-distances 9, 4, 9 and 36."""
    x = torch.tensor([0.0, 1.0, 3.0, 7.0])[None, :, None]
    expected = torch.tensor([[(9 / 4 + 9 / 9) / 2, (4 / 9 + 4 / 9) / 2, (9 / 4 + 9 / 9) / 2, (36 / 9 + 36 / 4) / 2]])
    torch.testing.assert_close(scclip.outlier_scores(x, 2), expected)


@pytest.mark.parametrize(("patches", "neighbours"), [(196, 30), (196, 5), (31, 30), (30, 30), (12, 30), (2, 30)])
def test_outlier_scores_equal_the_formula(patches, neighbours):
    x = random_tokens(2, patches)
    scores = scclip.outlier_scores(x, neighbours)
    expected = [formulas.outlier_scores(window, neighbours) for window in x.double().numpy()]
    np.testing.assert_allclose(scores.numpy(), np.stack(expected), rtol=1e-4)


@pytest.mark.parametrize(
    ("patches", "neighbours", "expected"),
    [(16, 4, 1), (21, 4, 1), (42, 30, 3), (196, 30, 10), (256, 30, 13), (441, 30, 22), (588, 30, 30), (1024, 30, 52)],
)
def test_one_token_in_twenty_is_an_outlier(patches, neighbours, expected):
    x = random_tokens(2, patches, seed=patches)
    found = scclip.outliers(x, "released", neighbours)
    assert found.dtype == torch.bool
    assert found.sum(1).tolist() == [expected] * 2
    scores = scclip.outlier_scores(x, neighbours)
    for own, mask in zip(scores, found, strict=True):
        assert own[mask].min() > own[~mask].max()


@pytest.mark.parametrize(("patches", "expected"), [(196, 10), (588, 10), (12, 10), (10, 10), (6, 6)])
def test_norm_detector_takes_the_ten_longest(patches, expected):
    x = random_tokens(2, patches)
    found = scclip.outliers(x, "norm", 30)
    assert found.sum(1).tolist() == [expected] * 2
    assert found.numpy().tolist() == [formulas.outliers(w, "norm", 30).tolist() for w in x.double().numpy()]


@pytest.mark.parametrize(("patches", "neighbours"), [(196, 30), (196, 5), (441, 30), (31, 30), (24, 30), (12, 30)])
def test_lof_detector_equals_scikit_learn_and_the_formula(patches, neighbours):
    x = random_tokens(2, patches, seed=patches)
    found = scclip.outliers(x, "lof", neighbours)
    for window, own in zip(x.double().numpy(), found.numpy(), strict=True):
        k = min(neighbours, patches - 1)
        oracle = LocalOutlierFactor(n_neighbors=k, contamination=0.05).fit(window)
        factors = formulas.local_outlier_factors(window, neighbours)
        np.testing.assert_allclose(factors, -oracle.negative_outlier_factor_, rtol=1e-6)
        assert own.tolist() == (oracle.fit_predict(window) == -1).tolist()
        assert own.tolist() == formulas.outliers(window, "lof", neighbours).tolist()


def test_the_detectors_find_the_tokens_that_were_put_there():
    x, spoilt = random_tokens(1, 196), [3, 50, 51, 120, 195]
    x[:, spoilt] *= 6
    for detector in DETECTORS:
        assert scclip.outliers(x, detector, 30)[0, spoilt].all()


@pytest.mark.parametrize("length", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("patches", [12, 196])
def test_equal_tokens_have_no_outlier(patches, length):
    x = (length * random_tokens(1, 1)).expand(1, patches, 32)
    assert torch.equal(scclip.outlier_scores(x, 30), torch.ones(1, patches))
    assert not scclip.outliers(x, "released", 30).any()


def test_scores_are_finite_where_some_tokens_are_equal():
    x = random_tokens(1, 196)
    x[:, :40] = x[:, :1]
    scores = scclip.outlier_scores(x, 30)
    assert (scores[:, :40] == 1).all()
    np.testing.assert_allclose(scores[0].numpy(), formulas.outlier_scores(x[0].double().numpy(), 30), rtol=1e-4)
    assert scclip.outliers(x, "released", 30).sum() == 10


def test_scores_do_not_drown_in_what_all_tokens_share():
    """Lengths of 300 that are 0.1 apart: |x|² + |y|² - 2xy has lost it in fp32."""
    x = 300 + 0.1 * random_tokens(1, 196)
    scores = scclip.outlier_scores(x, 30)
    np.testing.assert_allclose(scores[0].numpy(), formulas.outlier_scores(x[0].double().numpy(), 30), rtol=1e-3)


def test_squared_distances_beyond_fp16_do_not_overflow():
    x = (60 * random_tokens(1, 196, 768)).half()
    assert torch.pdist(x[0].float()).min() > 256
    scores = scclip.outlier_scores(x, 30)
    np.testing.assert_allclose(scores[0].numpy(), formulas.outlier_scores(x[0].double().numpy(), 30), rtol=1e-3)
    assert scclip.outliers(x, "released", 30).sum() == 10


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (5, 3), (1, 7), (7, 1), (21, 28), (28, 21)], ids=str)
def test_repair_equals_the_formula(grid, share):
    x = random_tokens(2, grid[0] * grid[1])
    outlier = random_outliers(2, grid[0] * grid[1], share)
    before = x.clone()
    mended = scclip.repair(x, outlier, grid)
    assert torch.equal(x, before)
    for window in range(2):
        expected = formulas.repair(x[window].double().numpy(), outlier[window].numpy(), grid)
        np.testing.assert_allclose(mended[window].numpy(), expected, rtol=0, atol=1e-5)
    assert torch.equal(mended[~outlier], x[~outlier])
    if share == 1:
        assert torch.equal(mended, x)


def test_repair_leaves_an_outlier_among_outliers():
    x, outlier = random_tokens(1, 35), torch.zeros(5, 7, dtype=torch.bool)
    outlier[1:4, 2:5] = True
    mended = scclip.repair(x, outlier.view(1, 35), (5, 7))
    changed = (mended != x).any(-1).view(5, 7)
    outlier[2, 3] = False
    assert torch.equal(changed, outlier)


@pytest.mark.parametrize("beta", [0.0, 0.4, 0.9])
def test_aggregation_equals_the_formula_and_rows_sum_to_one(beta):
    unit = F.normalize(random_tokens(2, 20, 3), dim=-1)
    similarity = unit @ unit.transpose(1, 2)
    weights = scclip.aggregate(similarity, beta)
    expected = np.stack([formulas.aggregate(window, beta) for window in similarity.double().numpy()])
    np.testing.assert_allclose(weights.numpy(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 20), rtol=1e-5, atol=0)
    assert ((weights > 0) == (similarity > beta)).all()
    assert torch.equal(scclip.aggregate(similarity, 1.01), torch.zeros(2, 20, 20))


def test_aggregation_keeps_a_similarity_of_beta():
    similarity = torch.tensor([[[1.0, 0.5, 0.25], [0.5, 1.0, 0.499], [0.25, 0.499, 1.0]]])
    expected = torch.tensor([[[2 / 3, 1 / 3, 0], [1 / 3, 2 / 3, 0], [0, 0, 1]]])
    torch.testing.assert_close(scclip.aggregate(similarity, 0.5), expected, rtol=0, atol=1e-5)


def test_an_unknown_detector_is_named(build_dense):
    with pytest.raises(InputError, match="'iforest'"):
        build_dense(dict(type="SCCLIP", detector="iforest"))


@pytest.mark.parametrize("blocks", [dict(mid=9), dict(post=5), dict(fused=(3, 6))], ids=str)
def test_blocks_that_the_tower_lacks_are_refused(blocks, build_dense, pictures):
    settings = dict(type="SCCLIP", mid=3, post=1, fused=(1, 2), tower=None) | blocks
    with pytest.raises(InputError, match="tower has 4"):
        build_dense(settings)(pictures(1, 32, 32))
