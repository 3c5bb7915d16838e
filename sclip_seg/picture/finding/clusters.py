"""Samples in clusters: k-means, with the number of clusters whose silhouette is the best."""

from collections.abc import Sequence

import numpy as np

from .samples import Samples

PICTURE = (2, 3, 4, 5, 6, 7, 8)  # numbers that are tried for one picture, as AutoSeg does
FOLDER = (4, 8, 12, 16, 24, 32, 48, 64)
LOOKED_AT = 2000  # samples that a silhouette is of


def clusters(samples: Samples, counts: Sequence[int]) -> np.ndarray:
    """The cluster of each sample (M,), numbered from 0 without gaps; `counts`: how many there may be."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    features, area = samples.features.numpy(), samples.area.numpy()
    fitting = [count for count in counts if count < len(features)] or [1]
    found = []
    for count in fitting:
        means = KMeans(count, n_init=3, random_state=0).fit(features, sample_weight=area)
        own = np.unique(means.labels_, return_inverse=True)[1]
        if len(fitting) == 1:
            return own
        several = 1 < own.max() + 1 < len(features)
        score = silhouette_score(features, own, sample_size=LOOKED_AT, random_state=0) if several else -1.0
        found.append((score, own))
    return max(found, key=lambda entry: entry[0])[1]
