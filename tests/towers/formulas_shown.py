"""What two methods' attention is, of a case of test_attention_maps.py: a method, its windows, its tower in float64."""

import formulas_cass as cass
import formulas_rfclip as rfclip
from numpy import ndarray as Array

from sclip_seg.methods.cass import assigned, patches_alone, ranged, spectral_distance, squared


def spectral(case, window: int) -> Array:
    """CASS's joint graphs, without the class token."""
    trace = case.dense.trace(case.image[window : window + 1])
    keys = case.dense.tail.guide.keys(squared(trace.pixels))[0].double().numpy()
    clip = patches_alone(trace).k
    found = ranged(case.dense.tail.guide_keys(trace, clip.shape[1])[0], clip[0])
    pairs = assigned(spectral_distance(found, clip[0]))[1].tolist()
    return cass.attention(case.states[window][-1], case.tower[-1], case.grid, keys, pairs=pairs)[0]


def calmed(case, window: int) -> Array:
    """RF-CLIP's mean of all blocks, and of both inputs, of the patches; nothing of this tower is flagged."""
    found = rfclip.window(case.states[window][0], case.tower, case.grid, rfclip.Settings(case.dense.edit.channels))
    assert not any(any(block) for block in found.flagged)
    assert found.margin > 1e-6
    return sum(found.weights) / 2
