"""The reader of MaskCLIP+'s labels. Its file is made here, by loops in float64."""

import numpy as np
from made_parity import make, off, read

from sclip_seg.measure.parity import maskclip_plus


def test_labels_of_given_features(tmp_path):
    folder, random = make(tmp_path / "made"), np.random.default_rng(0)
    text, feature = np.eye(5, 8), random.normal(size=(1, 8, 14, 14))
    unit = feature[0] / np.linalg.norm(feature[0], axis=0)
    places = np.clip((np.arange(224) + 0.5) / 16 - 0.5, 0, 13)
    low = np.minimum(places.astype(int), 12)
    maps = np.empty((5, 224, 224))
    for k in range(5):
        rows = unit[k][low] * (1 - (places - low))[:, None] + unit[k][low + 1] * (places - low)[:, None]
        maps[k] = rows[:, low] * (1 - (places - low)) + rows[:, low + 1] * (places - low)
    plain = maps.argmax(0).astype(np.uint8)
    plain[maskclip_plus.LABELLED] = maskclip_plus.LABEL
    sure = np.where(maps.max(0) < 0.2, 255, plain).astype(np.uint8)
    for labels in (plain, sure):
        labels[maskclip_plus.IGNORED] = 255
    arrays = {"text": text, "feature": feature, "keys": np.zeros((1, 196, 3)), "plain": plain, "conf0.2": sure}
    path = folder / "stage_maskclip_plus.npz"
    np.savez(path, **{key: a.astype(np.float32) if a.dtype == float else a for key, a in arrays.items()}, other=plain)
    assert off(folder) == []
    assert "stage_maskclip_plus other" in read(folder)[1]
    plain[0, 0] += 1
    np.savez(path, **{key: a.astype(np.float32) if a.dtype == float else a for key, a in arrays.items()})
    assert off(folder) == ["maskclip plus plain wrong labels"]
