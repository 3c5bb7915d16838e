"""The parts of ResCLIP's feedback, on one window's labels, against loops."""

import formulas_resclip as formulas
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg.methods.resclip import feedback, in_sight, patch_labels

SIGHTS = ("released", "line", "component")


@st.composite
def label_maps(draw, longest: int = 7) -> tuple[list[int], tuple[int, int]]:
    """Labels of a grid's patches, few enough to form segments, and the grid."""
    grid = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    count = grid[0] * grid[1]
    return draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), grid


def assert_equal_sight(seen: torch.Tensor, labels: list[int], grid: tuple[int, int], rule: str) -> None:
    assert seen.dtype == torch.bool
    expected = formulas.in_sight(np.array(labels), grid, rule)
    # The released rule is defined by its fp32 arithmetic where a sample lies halfway; the others are exact.
    sure = ~formulas.halfway(grid) if rule == "released" else np.ones_like(expected)
    np.testing.assert_array_equal(seen.numpy()[sure], expected[sure])


@pytest.mark.parametrize("rule", SIGHTS)
@given(label_maps())
def test_sight_equals_the_loops(rule, drawn):
    labels, grid = drawn
    assert_equal_sight(in_sight(torch.tensor(labels), grid, rule), labels, grid, rule)


@pytest.mark.parametrize("rule", SIGHTS)
@pytest.mark.parametrize("grid", [(9, 10), (6, 13), (11, 5), (8, 12)], ids=str)
def test_sight_over_long_lines(rule, grid):
    """One patch in eight is in the way; the long lines have samples halfway between patches."""
    labels = (torch.rand(grid[0] * grid[1], generator=torch.Generator().manual_seed(3)) < 0.12).long()
    seen = in_sight(labels, grid, rule)
    assert_equal_sight(seen, labels.tolist(), grid, rule)
    assert 0 < seen[labels[:, None] == labels].float().mean() < 1


@pytest.mark.parametrize("rule", ["line", "component"])
@pytest.mark.parametrize("seed", range(3))
def test_sight_is_mutual(seed, rule):
    labels = (torch.rand(96, generator=torch.Generator().manual_seed(seed)) < 0.12).long()
    seen = in_sight(labels, (8, 12), rule)
    assert torch.equal(seen, seen.T)


def test_the_three_rules_by_hand():
    """A wall with a gap at its end: 0 1 0 / 0 1 0 / 0 0 0, seen from the upper left."""
    labels, grid = torch.tensor([0, 1, 0, 0, 1, 0, 0, 0, 0]), (3, 3)
    assert not in_sight(labels, grid, "line")[0, 2]
    assert in_sight(labels, grid, "component")[0, 2]
    assert in_sight(labels, grid, "line")[0, 6]
    assert not in_sight(labels, grid, "component")[0, 1]
    # In a long grid the released rule looks at the first part of the line alone, and misses the wall after a patch.
    row = torch.tensor([0, 1, 0, 0, 0, 0])
    assert not in_sight(row, (1, 6), "released")[0, 2]
    assert in_sight(F.pad(row, (0, 4)), (1, 10), "released")[0, 2]


@pytest.mark.parametrize("scaling", ["global", "row"])
@pytest.mark.parametrize("blur", ["raster", "grid"])
@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("sigma", [5.0, 0.8])
@given(label_maps(5))
def test_feedback_equals_the_loops(sigma, sight, blur, scaling, drawn):
    labels, grid = drawn
    found = feedback(torch.tensor(labels), grid, sigma, sight, blur, scaling)
    expected = formulas.feedback(np.array(labels), grid, sigma, sight, blur, scaling)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("grid", [(14, 14), (9, 4)], ids=str)
def test_the_largest_entry_is_one(grid, sight):
    labels = torch.randint(4, (grid[0] * grid[1],), generator=torch.Generator().manual_seed(1))
    whole, rows = (feedback(labels, grid, 5.0, sight, "raster", scaling) for scaling in ("global", "row"))
    assert whole.max() == 1
    assert (whole.max(1).values < 0.9).any()
    torch.testing.assert_close(rows.max(1).values, torch.ones(len(labels)))
    assert whole.min() >= 0


def test_one_label_everywhere_leaves_the_border_effect_alone():
    found = feedback(torch.full((196,), 3), (14, 14), 5.0, "released", "raster", "global")
    assert found.max() == 1
    assert found.min() == pytest.approx(0.54, abs=0.01)
    assert (found[:, 15:-15] > 0.999).all()


def test_the_raster_blur_wraps_into_the_next_row():
    """A single patch at the end of the first row; a narrow kernel reaches two patches."""
    labels = torch.zeros(24, dtype=torch.int64)
    labels[5] = 1
    raster, plane = (feedback(labels, (4, 6), 0.7, "released", blur, "row")[5] for blur in ("raster", "grid"))
    assert (raster[[4, 6]] > 0.3).all()
    assert raster[11] == 0
    assert plane[6] == 0
    assert plane[11] == pytest.approx(float(plane[4]))
    assert plane[11] > 0.3


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 4),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.sampled_from([0.0, 0.45, 1.0]),
    st.integers(0, 10**6),
)
def test_patch_labels_equal_the_loops(grid, patch, trailing, threshold, seed):
    size = [side * patch + min(rest, patch - 1) for side, rest in zip(grid, trailing, strict=True)]
    probability = (2 * torch.randn(5, *size, generator=torch.Generator().manual_seed(seed))).softmax(0)
    labels = patch_labels(probability, threshold, patch, grid)
    assert labels.dtype == torch.int64
    np.testing.assert_array_equal(labels, formulas.patch_labels(probability.numpy(), threshold, patch, grid))


def test_the_smallest_of_equally_common_labels_and_pixels_at_the_threshold():
    winners = torch.tensor([[2, 1, 3, 3], [1, 2, 3, 0]])
    probability = F.one_hot(winners, 4).movedim(2, 0) * 0.25 + 0.25
    probability = probability.float()
    assert patch_labels(probability, 0.5, 2, (1, 2)).tolist() == [1, 3]
    assert patch_labels(probability, 0.51, 2, (1, 2)).tolist() == [0, 0]
