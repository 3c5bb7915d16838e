"""Names for clusters, against the formulas; and what becomes of ties, of area and of clusters without a word."""

import formulas_naming as plain
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sclip_seg.picture.finding import naming
from sclip_seg.picture.finding.naming import (
    NAMELESS,
    Attributes,
    attribute_scores,
    candidates,
    matched,
    realigned,
    rounds,
    vote_shares,
    votes,
)


def drawn(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def given():
    """Sixty samples in four clusters, six words; areas differ."""
    features, words = drawn(60, 8), drawn(6, 8, seed=1)
    area = 1 + torch.rand(60, generator=torch.Generator().manual_seed(2)).double().numpy()
    return features, words, np.arange(60) % 4, area


@pytest.mark.parametrize("chunk", [1, 10**6])
def test_votes_and_their_shares_equal_the_formulas(given, chunk, monkeypatch):
    monkeypatch.setattr(naming, "CHUNK", chunk)
    features, words, cluster, area = given
    vote = votes(features, words)
    assert vote.tolist() == plain.vote(features.double().numpy(), words.double().numpy())
    found = vote_shares(vote, cluster, area, 6)
    np.testing.assert_allclose(found, plain.shares(vote, cluster, area, 6), rtol=0, atol=1e-12)
    way = matched(found)
    assert len({*way.tolist()}) == 4
    assert found[np.arange(4), way].sum() == pytest.approx(plain.largest_total(found))


def test_rounds_go_on_from_the_names_that_are_left(given):
    features, words, cluster, area = given
    vote = votes(features, words)
    first, second = rounds(features, words, cluster, area, vote, 2)
    names = first.names
    expected = [max(names, key=lambda v: float(x @ words[v])) for x in features]
    assert names[first.own].tolist() == expected
    regrouped = np.unique(expected, return_inverse=True)[1]
    np.testing.assert_allclose(second.shares, plain.shares(vote, regrouped, area, 6), rtol=0, atol=1e-12)
    assert {*second.names} <= {*names}


def test_a_cluster_without_a_vote_for_a_free_word_has_no_name():
    shares = np.array([[1.0, 0.0], [0.9, 0.1], [1.0, 0.0]])
    assert sorted(matched(shares).tolist()) == [NAMELESS, 0, 1]
    named = rounds(torch.eye(2)[[0, 0, 1]], torch.eye(2), np.array([0, 1, 1]), np.ones(3), np.array([0, 0, 1]), 1)[0]
    assert named.certainty.tolist() == [1.0, 0.5]
    alone = rounds(torch.eye(2)[[0, 0]], torch.eye(2), np.array([0, 1]), np.ones(2), np.array([0, 0]), 1)[0]
    assert sorted(alone.words.tolist()) == [NAMELESS, 0]
    assert alone.names.tolist() == [0]
    assert sorted(alone.certainty.tolist()) == [0.0, 1.0]


def test_candidates_are_the_most_voted_and_none_without_votes():
    found = candidates(np.array([[0.2, 0.2, 0.0, 0.6], [0.0, 1.0, 0.0, 0.0]]))
    assert [own.tolist() for own in found] == [[3, 0, 1], [1]]


def test_attributes_equal_the_formula_and_decide():
    texts, samples = drawn(7, 8, seed=3), drawn(20, 8, seed=4)
    candidate, weight = np.array([0, 0, 1, 1, 1, 2, 2]), np.array([1, 2, 3, 1, 1, 2, 2.0])
    found = attribute_scores(samples, Attributes(texts, candidate, weight), 4)
    expected = plain.attribute_scores(samples.double().numpy(), texts.double().numpy(), candidate, weight, 4, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert found[3] == 0
    last = realigned(torch.eye(3), torch.eye(3), [np.array([0, 1]), np.array([1, 2])], [[1.0, 2.0], [3.0, 1.0]])
    assert last.words.tolist() == [0, 1]
    assert last.names[last.own].tolist() == [0, 1, 0]
