"""A memory: its file, its search, and the probabilities that it gives."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from sclip_seg.errors import InputError
from sclip_seg.regions import memory as module
from sclip_seg.regions import search
from sclip_seg.regions.memory import RegionMemory, place_of


def drawn(count=30, **changes):
    keys = F.normalize(torch.randn(count, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    given = dict(name="mine", keys=keys, labels=torch.arange(count) % 3, names=("mug", "cat", "Ü"), shots=2)
    return RegionMemory(**given | dict(made={"tower": "ab"}) | changes)


def test_what_is_written_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn().write(place_of("mine"))
    again = RegionMemory.load("mine")
    assert torch.equal(again.labels, drawn().labels)
    torch.testing.assert_close(again.keys, drawn().keys)
    assert (again.names, again.shots, again.made) == (drawn().names, 2, {"tower": "ab"})
    assert again.told == f"mine#{again.digest},2shots"
    assert again.digest == RegionMemory.load(tmp_path / "work_dirs/memory/mine.safetensors").digest
    assert len({drawn(**one).digest for one in ({}, dict(shots=3), dict(count=29), dict(names=("a", "b", "c")))}) == 4


def test_what_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="no memory other"):
        RegionMemory.load("other")
    save_file({"keys": torch.eye(3)}, tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        RegionMemory.load(tmp_path / "odd.safetensors")
    for odd in (
        dict(labels=torch.full((30,), 3)),
        dict(keys=torch.full((30, 6), torch.nan)),
        dict(labels=torch.ones(2)),
    ):
        with pytest.raises(InputError, match="memory mine"):
            drawn(**odd)
    with pytest.raises(InputError, match="keys of 6 numbers, not 5"):
        drawn().nearest(torch.ones(1, 5), 3)


@pytest.mark.parametrize("chunk", [1, 10**6])
def test_probabilities_equal_the_formula(chunk, monkeypatch):
    monkeypatch.setattr(search, "CHUNK", chunk)
    memory, queries = drawn(), torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    found = memory.probabilities(3 * queries, 5, 0.1)
    for x, p in zip(queries.double().numpy(), found.numpy(), strict=True):
        cosines = [float(key @ x / np.linalg.norm(x)) for key in memory.keys.double().numpy()]
        best = sorted(range(30), key=lambda i: -cosines[i])[:5]
        weights = {i: np.exp(cosines[i] / 0.1) for i in best}
        expected = [sum(w for i, w in weights.items() if i % 3 == c) / sum(weights.values()) for c in range(3)]
        np.testing.assert_allclose(p, expected, rtol=0, atol=1e-6)
    assert memory.nearest(queries, 100)[1].shape == (7, 30)


def test_faiss_finds_the_same_where_it_is_installed(monkeypatch):
    pytest.importorskip("faiss", reason="the other search needs faiss: pip install faiss-cpu")
    queries = torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    exact = drawn().nearest(queries, 5)
    monkeypatch.setattr(module, "EXACT", 1)
    for ours, theirs in zip(drawn().nearest(queries, 5), exact, strict=True):
        torch.testing.assert_close(ours, theirs)
