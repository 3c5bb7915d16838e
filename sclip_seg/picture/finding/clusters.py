"""Samples in clusters, by k-means. More of them than there are things do no harm: names that are not needed vanish."""

import numpy as np

from .samples import Samples

PICTURE, FOLDER = 12, 64  # how many, of one picture and of several


def clusters(samples: Samples, count: int) -> np.ndarray:
    """The cluster of each sample (M,), numbered from 0 without gaps."""
    from sklearn.cluster import KMeans

    features, area = samples.features.numpy(), samples.area.numpy()
    means = KMeans(min(count, len(features)), n_init=1, random_state=0).fit(features, sample_weight=area)
    return np.unique(means.labels_, return_inverse=True)[1]
