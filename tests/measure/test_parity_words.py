"""The readers of S3A, RAR, CaSED and the metrics of free words. Their files are made here, by the float64 formulas."""

import formulas_free_words as metrics
import formulas_naming as naming
import numpy as np
import torch
import torch.nn.functional as F
from made_parity import make, off, read
from scipy.optimize import linear_sum_assignment


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1).numpy()


def s3a():
    features, words, cluster = unit(40, 8), unit(12, 8, seed=1), np.arange(40) % 3
    vote, area = naming.vote(features, words), np.ones(40)
    arrays = {"feature": features, "vocabulary": words, "start": cluster, "vote": np.array(vote)}
    for number in range(2):
        shares = naming.shares(vote, cluster, area, 12)
        names = linear_sum_assignment(-shares)[1]
        own = np.array([max(sorted(names), key=lambda v: x @ words[v]) for x in features])
        cluster = np.unique(own, return_inverse=True)[1]
        head = f"iter{number}"
        arrays |= {f"{head}.share": shares.max(1), f"{head}.cluster_votes": shares[np.arange(len(names)), names]}
        arrays |= {f"{head}.cluster_name": names, f"{head}.label": cluster, f"{head}.name_of_sample": own}
    names = np.unique(own)
    texts, candidate = unit(9, 8, seed=2), np.array([0, 0, 1, 2, 0, 1, 1, 2, 2])
    chosen = np.array([np.roll(names, -number)[:3] for number in range(3)])
    weight, of_cluster = np.arange(1, 10), np.repeat(np.arange(3), 3)
    of_cluster, texts, candidate, weight = (
        np.concatenate([part] * 3) for part in (of_cluster, texts, candidate, weight)
    )
    of_cluster = np.repeat(np.arange(3), 9)
    scores = [
        naming.attribute_scores(features[cluster == c], *(p[of_cluster == c] for p in (texts, candidate, weight)), 3, 3)
        for c in range(3)
    ]
    table = np.zeros((3, 12))
    np.put_along_axis(table, chosen, np.array(scores), 1)
    given = linear_sum_assignment(-table)[1]
    last = {"candidates": chosen, "attribute": texts, "attribute_cluster": of_cluster, "score": np.array(scores)}
    last |= {"attribute_candidate": candidate, "attribute_count": weight, "cluster_of_sample": cluster}
    last |= {
        "cluster_name": given,
        "name_of_sample": [max(sorted(given), key=lambda v: x @ words[v]) for x in features],
    }
    return arrays | {f"realign.{key}": np.array(value) for key, value in last.items()}


def rar():
    memory, query, labels = unit(20, 6), unit(4, 6, seed=1), np.arange(20) % 3
    cosines = query.astype(np.float64) @ memory.T
    order = (-cosines).argsort(1)[:, :5]
    found = {"neighbour": order, "similarity": np.take_along_axis(cosines, order, 1), "retrieved_label": labels[order]}
    return {"memory": memory, "memory_label": labels, "query": query} | found


def vocabulary_free():
    mask, target = unit(2, 4, 6, 6), np.random.default_rng(0).integers(0, 5, (2, 6, 6))
    words, classes = unit(4, 8, seed=2), unit(5, 8, seed=3)
    similarity = words.astype(float) @ classes.T
    pairs = list(zip(mask.argmax(1).reshape(2, -1), target.reshape(2, -1), strict=True))
    soft = [metrics.soft(word, label, similarity, 5) for word, label in pairs]
    word, label = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    meant = np.array([0, 0, 3, 0])[word]
    found = {
        "hard": np.nanmean(metrics.iou_by_class(meant, label, 5)),
        "recall_hard": np.nanmean(metrics.recall_by_class(meant, label, 5)),
        "overlap": metrics.mean([metrics.overlap(*pair, 4, 5) for pair in pairs], 0),
        "soft": metrics.mean([iou for iou, _ in soft], 0),
        "recall_soft": metrics.mean([recall for _, recall in soft], 0),
    }
    arrays = {"mask": mask, "target": target, "word_embedding": words, "class_embedding": classes}
    arrays |= {"words_that_are_classes": np.array([[2, 3]]), "cased.other": np.zeros(3)}
    return arrays | {f"metric.{key}": np.array(value) for key, value in found.items()} | cased()


def cased():
    image, bag, owner = unit(2, 8, seed=4), unit(9, 8, seed=5), np.array([0, 1, 1, 0, 1])
    caption, candidate, found = np.array([[0, 3, 4], [1, 2, 8]]), np.array([2, 5, 7, 0, 1]), np.zeros((2, 5))
    for place in range(2):
        own, mean = owner == place, bag[caption[place]].astype(float).mean(0)
        parts = [np.exp(bag[candidate[own]] @ one / 0.07) for one in (image[place], mean / np.linalg.norm(mean))]
        seen, told = (part / part.sum() for part in parts)
        found[place, own] = 0.6 * seen + 0.4 * told
    arrays = {"image": image, "bag": bag, "caption": caption, "candidate": candidate, "candidate_image": owner}
    return {f"cased.{key}": value for key, value in (arrays | {"alpha0.6": found}).items()}


def test_what_the_formulas_give_is_within(tmp_path):
    folder = make(tmp_path / "made")
    made = {"stage_s3a": s3a(), "stage_rar": rar(), "stage_vocabulary_free": vocabulary_free()}
    for name, arrays in made.items():
        np.savez(folder / f"{name}.npz", **arrays)
    found, unknown = read(folder)
    assert not off(folder)
    assert len(found) == 3 + 1 + 2 * 5 + 3 + 5 + 1
    assert unknown == ["stage_vocabulary_free cased.other"]
    odd = {"stage_s3a": "iter1.cluster_name", "stage_rar": "neighbour", "stage_vocabulary_free": "metric.soft"}
    for name, key in odd.items():
        np.savez(folder / f"{name}.npz", **made[name] | {key: made[name][key] + 1})
    assert off(folder) == ["rar neighbours that differ", "s3a round 1 names that differ", "vocabulary-free soft"]
