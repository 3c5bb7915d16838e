"""S3A's naming of clusters in float64, with loops, from its equations."""

from itertools import permutations

import numpy as np


def vote(features, words):
    return [max(range(len(words)), key=lambda v: float(x @ words[v])) for x in features]


def shares(votes, cluster, area, words):
    found = np.zeros((max(cluster) + 1, words))
    for c in range(len(found)):
        mine = [j for j in range(len(votes)) if cluster[j] == c]
        for j in mine:
            found[c, votes[j]] += area[j] / sum(area[i] for i in mine)
    return found


def largest_total(scores):
    """Of all ways to give each cluster a word of its own."""
    clusters, words = scores.shape
    return max(sum(scores[c, v] for c, v in enumerate(way)) for way in permutations(range(words), clusters))


def attribute_scores(features, texts, candidate, weight, count, nearest):
    hits = np.zeros(len(texts))
    for x in features:
        order = sorted(range(len(texts)), key=lambda a: -float(x @ texts[a]))
        for a in order[:nearest]:
            hits[a] += 1
    found = []
    for place in range(count):
        own = [a for a in range(len(texts)) if candidate[a] == place]
        others = [a for a in range(len(texts)) if candidate[a] != place]
        total = sum(weight[a] for a in own)
        mean = sum(weight[a] / total * hits[a] for a in own) if own else 0.0
        found.append(mean / (1 + sum(weight[a] for a in others)))
    return np.array(found)
