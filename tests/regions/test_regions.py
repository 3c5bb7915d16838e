"""Maps of regions and soft masks: what they hold, how masks become a map, how a map is resized."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sclip_seg.errors import InputError
from sclip_seg.regions.regions import MOST, VOID, Regions, SoftRegions, nearest, painted, painted_by_area

SIDES = st.integers(1, 40)


ODD = [torch.zeros(3), torch.zeros(0, 4), torch.full((2, 2), VOID - 1), torch.full((2, 2), MOST + 1)]


@pytest.mark.parametrize("ids", ODD)
def test_what_is_no_map_of_regions_is_refused(ids):
    with pytest.raises(InputError, match=r"map of regions|numbered from 0"):
        Regions(ids.int())


def test_void_is_no_region():
    assert Regions(torch.full((2, 3), VOID)).count == 0
    assert Regions(torch.tensor([[VOID, 4, 9, 9]])).count == 2
    assert Regions(torch.tensor([[VOID, 4, 9, 9]])).size == (1, 4)


@given(height=SIDES, width=SIDES, rows=SIDES, columns=SIDES)
def test_nearest_is_torchs(height, width, rows, columns):
    ids = torch.arange(height * width).view(height, width)
    expected = F.interpolate(ids[None, None].float(), (rows, columns), mode="nearest")[0, 0].long()
    assert torch.equal(nearest(ids, (rows, columns)), expected)
    assert torch.equal(nearest(ids[None], (rows, columns))[0], expected)


def test_what_is_painted_later_covers_the_earlier():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, :3, :3] = masks[1, :, 1] = masks[2, 0, :2] = True
    found = painted(masks, torch.tensor([0.5, 0.9, 0.1]), (4, 4)).ids
    assert found.tolist() == [[0, 1, 0, -1], [0, 1, 0, -1], [0, 1, 0, -1], [-1, 1, -1, -1]]
    assert painted_by_area(masks, (4, 4)).ids.tolist() == [[2, 2, 2, -1]] * 3 + [[-1, 1, -1, -1]]
    assert painted_by_area([], (2, 3)).count == 0


def test_soft_masks_are_enlarged_before_they_are_probabilities():
    generator = torch.Generator().manual_seed(0)
    soft = SoftRegions(3 * torch.randn(4, 5, 6, generator=generator), (10, 18), torch.tensor([0.9, 0.2, 0.6, 0.0]))
    masks = soft.masks()
    expected = F.interpolate(soft.logits[None].double(), (10, 18), mode="bilinear", align_corners=False)[0].sigmoid()
    torch.testing.assert_close(masks.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(soft.masks(slice(1, 3)), masks[1:3])
    hard = soft.hard().ids.numpy()
    for row in range(10):
        for column in range(18):
            score = np.where(expected[:, row, column] >= 0.5, soft.objectness * expected[:, row, column], 0)
            assert hard[row, column] == (score.argmax() if score.max() > 0 else VOID)


def test_no_soft_mask_at_all():
    none = SoftRegions(torch.zeros(0, 5, 6), (10, 18), torch.zeros(0))
    assert none.masks().shape == (0, 10, 18)
    assert none.count == none.hard().count == 0
