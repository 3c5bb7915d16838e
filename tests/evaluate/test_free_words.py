"""Metrics of words that nobody gave, against their definitions pixel by pixel; and what is present and wrong."""

import formulas_free_words as plain
import numpy as np
import pytest

from sclip_seg.evaluate.free_words.metrics import NOTHING, Counted, of_mapping, present_and_wrong, score

CLASSES = [["ground"], ["cat", "kitten"], ["dog"], ["owl"]]
WORDS = ("tiger", "Kitten", "dog", "sea", "owl")
SIMILARITY = np.random.default_rng(1).uniform(-1, 1, (5, 4))


@pytest.fixture(scope="module")
def pixels():
    """Words and labels of three pictures of 200 pixels; the second has no class 0, the third no class 3."""
    drawn = np.random.default_rng(0)
    labels = [drawn.integers(low, high, 200) for low, high in ((0, 4), (1, 4), (0, 3))]
    return [(drawn.integers(0, 5, 200), label) for label in labels]


def counted(pixels):
    return [
        Counted(WORDS, np.bincount(word * 4 + label, minlength=20).reshape(5, 4).astype(float))
        for word, label in pixels
    ]


@pytest.mark.parametrize("background", [0, None])
def test_metrics_equal_the_definitions(pixels, background):
    mapping = {"tiger": 1, "sea": NOTHING, "dog": 3}
    found = score(counted(pixels), CLASSES, background, lambda words: SIMILARITY, mapping).means
    soft = [plain.soft(word, label, SIMILARITY, 4) for word, label in pixels]
    expected = {
        "overlap": plain.mean([plain.overlap(word, label, 5, 4) for word, label in pixels], background),
        "nearest": plain.mean([plain.nearest(word, label, SIMILARITY, 4) for word, label in pixels], background),
        "soft": plain.mean([iou for iou, _ in soft], background),
        "recall_soft": plain.mean([recall for _, recall in soft], background),
    }
    word, label = (np.concatenate(parts) for parts in zip(*pixels, strict=True))
    none = -1 if background is None else background
    for name, meaning in (("hard", [none, 1, 2, none, 3]), ("mapped", [1, none, 3, none, none])):
        meant = np.array(meaning)[word]
        expected[name] = np.nanmean(plain.iou_by_class(meant, label, 4))
        expected[f"recall_{name}"] = np.nanmean(plain.recall_by_class(meant, label, 4))
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_perfect_naming_scores_one():
    counts = np.diag([10.0, 0, 5, 0])
    seen = Counted(("ground", "cat", "dog", "owl"), counts)
    found = score([seen], CLASSES, None, lambda words: np.eye(4)).means
    assert {round(value, 12) for value in found.values()} == {1.0}
    expected = [[10, 0, 0, 0], [10, 0, 0, 0], [10, 0, 5, 0]]
    assert of_mapping(counts, np.array([0, NOTHING, NOTHING, 3])).tolist() == expected


def test_present_and_wrong():
    counts = np.array([[90.0, 5, 5, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    seen = Counted(("kitten", "owl", "sea"), counts)
    assert present_and_wrong(seen, CLASSES, 0.02) == (3, 1, 2)
    assert present_and_wrong(seen, CLASSES, 0.06) == (1, 0, 2)
