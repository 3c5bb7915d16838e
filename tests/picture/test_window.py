"""Windows against mmseg's grid, and the stitching operator against the chain that it stands for."""

import plain_chain
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from sclip_seg.errors import InputError
from sclip_seg.picture import scores
from sclip_seg.picture.scores import DenseMaps, StitchedMaps
from sclip_seg.picture.window import Windows, windows

sides = st.integers(1, 70)
sizes = st.tuples(sides, sides)


@st.composite
def plans(draw) -> dict:
    """Settings of `windows`: a patch, a crop of a patch or more, a stride within it, or the whole picture."""
    patch = draw(st.integers(1, 9))
    size = draw(st.tuples(*[st.integers(patch, 70)] * 2))
    padding = draw(st.sampled_from(["stretch", "symmetric"]))
    if draw(st.integers(0, 4)) == 0:
        return dict(size=size, crop=None, stride=None, patch=patch, padding=padding)
    crop = draw(st.integers(patch, 40))
    return dict(size=size, crop=crop, stride=draw(st.integers(max(1, crop // 4), crop)), patch=patch, padding=padding)


def tiles_for(plan: Windows, queries: int, seed: int) -> torch.Tensor:
    """Random patch scores (N, Q, h, w) of the plan's windows, float64."""
    shape = (len(plan), queries, plan.rows.patches, plan.columns.patches)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps_of(plan: Windows, tiles: torch.Tensor, label_size: tuple[int, int]) -> StitchedMaps:
    return StitchedMaps(
        plan.lattice(tiles.float()), plan.rows.operator(label_size[0]), plan.columns.operator(label_size[1])
    )


@given(sizes, st.integers(1, 40), st.integers(1, 40))
def test_boxes_are_mmsegs(size, crop, stride):
    assume(stride <= crop)
    plan = windows(size, crop, stride, patch=1)
    assert plan.boxes() == plain_chain.mmseg_boxes(size, crop, stride)
    assert len(plan) == len(plan.boxes())


@pytest.mark.parametrize(
    ("size", "count"), [((336, 448), 6), ((448, 597), 15), ((560, 1120), 36), ((224, 224), 1), ((100, 300), 2)]
)
def test_the_published_window_counts(size, count):
    assert len(windows(size, 224, 112, 16)) == count


@given(plans())
def test_every_pixel_is_in_a_window_and_every_window_in_the_picture(settings):
    plan, (height, width) = windows(**settings), settings["size"]
    cover = torch.zeros(height, width)
    for top, left, bottom, right in plan.boxes():
        assert 0 <= top < bottom <= height
        assert 0 <= left < right <= width
        cover[top:bottom, left:right] += 1
    assert cover.min() > 0


@given(plans(), sizes, st.integers(0, 9))
def test_the_operator_is_the_published_chain(settings, label_size, seed):
    plan = windows(**settings)
    tiles = tiles_for(plan, 3, seed)
    expected = plain_chain.stitched(tiles, **settings, label_size=label_size)
    maps = maps_of(plan, tiles, label_size)
    assert maps.shape == (3, *label_size)
    torch.testing.assert_close(maps.dense().double(), expected, rtol=0, atol=1e-5)


@given(plans(), sizes)
def test_constant_scores_stay_constant(settings, label_size):
    plan = windows(**settings)
    maps = maps_of(plan, torch.full_like(tiles_for(plan, 1, 0), 0.25), label_size)
    torch.testing.assert_close(maps.dense(), torch.full((1, *label_size), 0.25), rtol=0, atol=1e-6)


@given(plans(), sizes, st.integers(1, 6), st.sampled_from([1.0, 50.0]))
def test_bands_concatenated_are_the_whole_scaled(settings, label_size, rows, scale):
    plan = windows(**settings)
    maps = maps_of(plan, tiles_for(plan, 3, 1), label_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "BAND_BYTES", rows * 4 * 3 * label_size[1])
        bands, held = list(maps.bands(scale)), list(DenseMaps(maps.dense()).bands(scale))
    assert [band.start for band, _ in bands] == list(range(0, label_size[0], rows))
    assert [band for band, _ in held] == [band for band, _ in bands]
    for parts in (bands, held):
        together = torch.cat([part for _, part in parts], dim=1)
        torch.testing.assert_close(together, scale * maps.dense(), rtol=0, atol=5e-6 * scale)


@given(plans(), st.integers(1, 7), st.integers(1, 3))
def test_cut_gives_the_boxes_with_their_zeros(settings, batch, count):
    plan, size = windows(**settings), settings["size"]
    pictures = torch.arange(1, count * 3 * size[0] * size[1] + 1).view(count, 3, *size)
    batches = list(plan.cut(list(pictures), batch))
    assert all(len(crops) == batch for crops in batches[:-1])
    assert len(batches[-1]) <= batch
    crops = torch.cat(batches)
    places = [(picture, box) for picture in pictures for box in plan.boxes()]
    for crop, (picture, (top, left, bottom, right)) in zip(crops, places, strict=True):
        expected = picture[:, top:bottom, left:right]
        if settings["padding"] == "symmetric":
            margins = plain_chain.symmetric_margins(bottom - top, right - left, settings["patch"])
            expected = torch.nn.functional.pad(expected, margins)
        assert torch.equal(crop, expected)
    patch = settings["patch"]
    assert tuple(n // patch for n in crops.shape[2:]) == (plan.rows.patches, plan.columns.patches)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_the_lattice_lays_windows_side_by_side(rows, columns, height, width):
    plan = windows((8 * rows, 8 * columns), 8, 8, patch=1)
    tiles = torch.arange(rows * columns * 2 * height * width).view(rows * columns, 2, height, width)
    lattice = plan.lattice(tiles)
    assert lattice.shape == (2, rows * height, columns * width)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height, index % columns * width
        assert torch.equal(lattice[:, top : top + height, left : left + width], tile)


@pytest.mark.parametrize("size", [(5, 7), (40, 5), (5, 40), (32, 32)], ids=str)
def test_a_picture_smaller_than_the_crop_is_one_window_there(size):
    plan = windows(size, 32, 16, patch=5)
    assert {(bottom - top, right - left) for top, left, bottom, right in plan.boxes()} == {
        (min(size[0], 32), min(size[1], 32))
    }
    assert next(plan.cut([torch.zeros(3, *size)], 1)).shape == (1, 3, min(size[0], 32), min(size[1], 32))


def test_whole_mode_is_one_window_whatever_the_stride():
    for stride in (None, 7):
        assert windows((30, 50), None, stride, patch=8).boxes() == [(0, 0, 30, 50)]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (dict(crop=15, stride=8), "crop=15"),
        (dict(crop=32, stride=33), "stride=33"),
        (dict(crop=32, stride=0), "stride=0"),
        (dict(crop=32, stride=-4), "stride=-4"),
        (dict(crop=32, stride=None), "stride=None"),
        (dict(crop=32, stride=16, padding="mirror"), "'mirror'"),
    ],
)
def test_settings_that_make_no_windows_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        windows((64, 64), **settings, patch=16)


@pytest.mark.parametrize(
    ("size", "stride", "count"),
    [
        *[((336, 448), 112, 6), ((505, 336), 112, 8), ((560, 1120), 112, 36)],
        *[((336, 448), 28, 45), ((448, 597), 28, 135), ((560, 1120), 28, 429)],
    ],
)
def test_number_of_windows_as_published(size, stride, count):
    assert len(windows(size, 224, stride, 16)) == count


@given(size=sizes, cells=st.sampled_from([1, 2]), seed=st.integers(0, 99))
def test_joined_windows_are_averaged_where_they_overlap(size, cells, seed):
    plan = windows(tuple(4 * side for side in size), 16, 8, 4)
    grid = plan.rows.patches * cells, plan.columns.patches * cells
    tiles = torch.randn(len(plan), 2, *grid, generator=torch.Generator().manual_seed(seed))
    total, cover = torch.zeros(2, size[0] * cells, size[1] * cells), torch.zeros(size[0] * cells, size[1] * cells)
    for tile, (top, left, bottom, right) in zip(tiles, plan.boxes(), strict=True):
        where = slice(top // 4 * cells, bottom // 4 * cells), slice(left // 4 * cells, right // 4 * cells)
        total[(slice(None), *where)] += tile
        cover[where] += 1
    joined = plan.rows.joined(grid[0]) @ plan.lattice(tiles) @ plan.columns.joined(grid[1]).T
    torch.testing.assert_close(joined, total / cover, rtol=0, atol=1e-5)


def test_padding_to_a_unit_of_its_own():
    plan = windows((280, 336), 336, 112, 16, "symmetric", unit=56)
    assert (plan.rows.before, plan.rows.after, plan.rows.patches) == (0, 0, 17)
    plan = windows((280, 336), 336, 112, 16, "symmetric", unit=112)
    assert (plan.rows.before, plan.rows.after, plan.rows.patches) == (28, 28, 21)
    with pytest.raises(InputError, match=r"window\.unit"):
        windows((280, 336), 336, 112, 16, "symmetric", unit=0)
