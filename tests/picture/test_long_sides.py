"""Long pictures: no matrix whose size grows with the square of a side, and the same operator as ever."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from sclip_seg.picture import window
from sclip_seg.picture.scores import StitchedMaps
from sclip_seg.picture.window import Banded, axis, bilinear


def plain(a, size, cells):
    """The operator as the product of dense matrices."""
    enlarge = bilinear(cells, a.crop + a.before + a.after)[a.before : a.before + a.crop]
    lattice = torch.zeros(a.side, len(a.starts), cells, dtype=torch.float64)
    cover = torch.zeros(a.side, 1, 1, dtype=torch.float64)
    for index, start in enumerate(a.starts):
        lattice[start : start + a.crop, index] = enlarge
        cover[start : start + a.crop] += 1
    return (bilinear(a.side, size) @ (lattice / cover).flatten(1)).float()


@st.composite
def axes(draw):
    """Axes of published sizes and others, label sizes, and cells."""
    side = draw(st.one_of(st.sampled_from([336, 448, 500, 560]), st.integers(16, 700)))
    crop, stride = draw(st.sampled_from([(224, 112), (336, 112), (448, 224), (64, 32), (90, 90), (None, 1)]))
    patch = draw(st.sampled_from([8, 14, 16]))
    one = axis(side, crop, stride, patch, draw(st.sampled_from(["stretch", "symmetric"])))
    assume(one.patches)
    return one, draw(st.one_of(st.just(side), st.integers(1, 1300))), one.patches * draw(st.sampled_from([1, 2]))


@given(axes())
def test_the_operator_is_the_product_to_the_last_bit(settings):
    one, size, cells = settings
    assert torch.equal(one.operator(size, cells), plain(one, size, cells))


@given(axes(), st.data())
def test_a_banded_operator_is_the_same(settings, data):
    one, size, cells = settings
    dense = one.operator(size, cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "LARGEST", 0)
        patch.setattr(window, "GROUP", data.draw(st.integers(5, 64)))
        banded = one.operator(size, cells)
    assert isinstance(banded, Banded)
    assert (banded.shape, len(banded)) == (tuple(dense.shape), len(dense))
    start = data.draw(st.integers(0, size - 1))
    rows = slice(start, data.draw(st.integers(start + 1, size)))
    assert torch.equal(banded[rows], dense[rows])
    scores = torch.randn(2, 3, dense.shape[1], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(banded.across(scores), scores @ dense.T)


def test_maps_of_banded_operators_are_the_same(monkeypatch):
    rows, columns = axis(90, 32, 16, 8), axis(300, 32, 16, 8)
    generator = torch.Generator().manual_seed(0)
    lattice = torch.randn(3, len(rows.starts) * 4, len(columns.starts) * 4, generator=generator)
    dense = StitchedMaps(lattice, rows.operator(77), columns.operator(290))
    monkeypatch.setattr(window, "LARGEST", 0)
    banded = StitchedMaps(lattice, rows.operator(77).to("cpu"), columns.operator(290))
    assert banded.shape == dense.shape
    torch.testing.assert_close(banded.dense(), dense.dense())
    for (band, one), (other_band, other) in zip(banded.bands(40.0), dense.bands(40.0), strict=True):
        assert band == other_band
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


class Largest(TorchDispatchMode):
    """Records the entries of the largest tensor that is made."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.entries = max(self.entries, result.untyped_storage().nbytes() // result.element_size())
        return result


@pytest.mark.parametrize(("side", "crop"), [(20_000, 224), (2048, 224), (20_000, None)])
def test_no_matrix_of_20000_by_20000(side, crop):
    one = axis(side, crop, 112, 16)
    with Largest() as largest:
        operator = one.operator(20_000)
        if isinstance(operator, Banded):
            operator.across(torch.zeros(2, operator.shape[1]))
            assert operator[:20].shape == (20, operator.shape[1])
    assert largest.entries <= window.LARGEST
