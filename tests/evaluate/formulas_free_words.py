"""The metrics of free words in float64, pixel by pixel, from their definitions."""

import numpy as np


def iou_by_class(meant, label, classes):
    found = np.full(classes, np.nan)
    for c in range(classes):
        both = sum(m == c and g == c for m, g in zip(meant, label, strict=True))
        either = sum(m == c or g == c for m, g in zip(meant, label, strict=True))
        found[c] = both / either if either else np.nan
    return found


def recall_by_class(meant, label, classes):
    found = np.full(classes, np.nan)
    for c in range(classes):
        own = [m == c for m, g in zip(meant, label, strict=True) if g == c]
        found[c] = sum(own) / len(own) if own else np.nan
    return found


def overlap(word, label, words, classes):
    meaning = [max(range(classes), key=lambda c: int(((word == w) & (label == c)).sum())) for w in range(words)]
    return iou_by_class([meaning[w] for w in word], label, classes)


def nearest(word, label, similarity, classes):
    present = sorted(set(label.tolist()))
    meaning = [max(present, key=lambda c: max(0, row[c])) for row in similarity]
    return iou_by_class([meaning[w] for w in word], label, classes)


def soft(word, label, similarity, classes):
    iou, recall = np.full(classes, np.nan), np.full(classes, np.nan)
    for c in range(classes):
        s = np.array([max(0, similarity[w, c]) for w in word])
        inside = label == c
        if inside.any():
            both = s[inside].sum()
            iou[c] = both / (s.sum() + inside.sum() - both)
            recall[c] = both / inside.sum()
    return iou, recall


def mean(pictures, without):
    values = np.array(pictures)
    kept = [c for c in range(values.shape[1]) if c != without and not np.isnan(values[:, c]).all()]
    return np.mean([np.nanmean(values[:, c]) for c in kept])
