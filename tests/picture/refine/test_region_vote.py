"""The vote of regions, by itself and behind a method that knows nothing of regions."""

import formulas_corrclip as plain
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from stub_regions import StubRegions, rectangles

from sclip_seg.errors import InputError
from sclip_seg.picture.refine.region_vote import void_of, vote
from sclip_seg.regions.regions import VOID


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    seed=st.integers(0, 99),
    rule=st.sampled_from(["smallest", "explicit"]),
)
def test_the_vote_equals_the_formula(height, width, seed, rule):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, (height, width))
    ids = generator.integers(generator.integers(-1, 2), 5, (height, width))
    void = void_of(torch.from_numpy(ids), rule)
    assert void == plain.void_number(ids, rule)
    found = vote(torch.from_numpy(labels), torch.from_numpy(ids), void)
    assert found.dtype == torch.long
    assert np.array_equal(found.numpy(), plain.vote(labels, ids, void))


def test_of_equals_the_lower_label():
    assert vote(torch.tensor([[3, 1, 1, 3]]), torch.zeros(1, 4), VOID).tolist() == [[1, 1, 1, 1]]


def step(**options) -> dict:
    return dict(type="RegionVote", regions=dict(type=StubRegions), **options)


@torch.no_grad()
@pytest.mark.parametrize("rule", ["smallest", "explicit"])
@pytest.mark.parametrize("void", [True, False])
def test_any_method_can_have_it(void, rule, build_segmentor, pictures):
    regions = dict(type=StubRegions, void=void)
    model = build_segmentor(refine=[dict(type="RegionVote", regions=regions, void=rule)])
    assert model.data_preprocessor.keep_original
    picture = pictures(1, 40, 48)[0]
    sample = SegDataSample(metainfo=dict(ori_shape=(80, 96)))
    sample.set_data(dict(original=torch.zeros(3, 80, 96, dtype=torch.uint8)))
    model.prepare()
    ((labels, maps),) = model.segment([picture], [sample])
    ids = rectangles(80, 96, void=void).numpy()
    before = model.labelling.labels(maps).numpy()
    assert np.array_equal(labels.numpy(), plain.vote(before, ids, plain.void_number(ids, rule)))


@torch.no_grad()
def test_regions_that_nobody_looked_at_are_refused(build_segmentor, pictures):
    model = build_segmentor(refine=["RegionVote"])
    sample = SegDataSample(metainfo=dict(ori_shape=(40, 48)))
    sample.set_data(dict(original=torch.zeros(3, 40, 48, dtype=torch.uint8)))
    with pytest.raises(InputError, match="this method looks at none"):
        model.predict(list(pictures(1, 40, 48)), [sample])
