"""A bank of regions: its file, its search, and the support that it gives."""

import formulas_corrclip as plain
import formulas_guided as guided
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from sclip_seg.errors import InputError
from sclip_seg.picture.window import bilinear
from sclip_seg.regions import bank as module
from sclip_seg.regions import search
from sclip_seg.regions.bank import RegionBank, region_means, support


def drawn(count: int = 50, auxiliary: bool = True) -> RegionBank:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(count, width, generator=generator) for width in (6, 8, 5)]
    return RegionBank(
        "mine", F.normalize(parts[0], dim=1), *parts[1 : 2 + auxiliary], *[None][auxiliary:], dict(guide="ab")
    )


@pytest.mark.parametrize("auxiliary", [True, False])
def test_what_is_written_is_read(auxiliary, tmp_path):
    bank = drawn(auxiliary=auxiliary)
    bank.write(tmp_path / "mine.safetensors")
    again = RegionBank.load(tmp_path / "mine.safetensors")
    torch.testing.assert_close(again.keys, bank.keys)
    torch.testing.assert_close(again.values, bank.values.half())
    assert (again.auxiliary is None) == (not auxiliary)
    assert (again.name, again.made) == ("mine", dict(guide="ab"))
    assert again.told == f"mine#{again.digest}(guide=ab)"
    assert RegionBank.load(tmp_path / "mine.safetensors").digest == again.digest != drawn(49).digest


@pytest.mark.parametrize("chunk", [1, 10**6])
def test_the_nearest_are_those_of_the_largest_cosine(chunk, monkeypatch):
    monkeypatch.setattr(search, "CHUNK", chunk)
    bank, queries = drawn(), torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    found = bank.nearest(3 * queries, 5)
    cosines = F.normalize(queries.double(), dim=1) @ bank.keys.double().T
    assert found.tolist() == cosines.argsort(dim=1, descending=True)[:, :5].tolist()
    assert bank.nearest(queries, 500).shape == (7, 50)


def test_support_equals_the_formula():
    bank, generator = drawn(), torch.Generator().manual_seed(1)
    queries, text = torch.randn(4, 6, generator=generator), F.normalize(torch.randn(3, 8, generator=generator), dim=1)
    found = support(bank.nearest(queries, 9), bank.values, text)
    arrays = [part.double().numpy() for part in (queries, bank.keys, bank.values, text)]
    np.testing.assert_allclose(found.numpy(), plain.support(*arrays, 9), rtol=0, atol=1e-6)


def test_faiss_finds_the_same_where_it_is_installed():
    pytest.importorskip("faiss", reason="the other search needs faiss: pip install faiss-cpu")
    bank, queries = drawn(), torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(bank.by_faiss(queries, 5), bank.nearest(queries, 5))


def test_without_faiss_a_line_says_so(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match="pip install faiss-cpu"):
        drawn().by_faiss(torch.zeros(1, 6), 2)


@pytest.mark.parametrize("chunk", [1, 10**6])
def test_means_of_regions_equal_the_formula(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    features = torch.randn(6, 5, 7, generator=torch.Generator().manual_seed(1))
    place = torch.randint(0, 4, (12, 9), generator=torch.Generator().manual_seed(2))
    operators = bilinear(5, 12).float(), bilinear(7, 9).float()
    wide = guided.bilinear(features.double().numpy(), (12, 9))
    wide = wide / np.sqrt((wide**2).sum(0))
    wanted = np.stack([wide[:, place.numpy() == number].mean(1) for number in range(4)])
    wanted = wanted / np.sqrt((wanted**2).sum(1, keepdims=True))
    np.testing.assert_allclose(region_means(features, place, 4, operators).numpy(), wanted, rtol=0, atol=1e-6)


def test_what_does_not_fit_is_refused(tmp_path):
    bank, path = drawn(), tmp_path / "odd.safetensors"
    with pytest.raises(InputError, match="keys of 6 numbers, and the guide gives 7"):
        bank.nearest(torch.zeros(1, 7), 3)
    with pytest.raises(InputError, match="values have 8 numbers, and the texts 9"):
        support(torch.zeros(1, 2, dtype=torch.long), bank.values, torch.zeros(1, 9))
    for tensors, told in (
        (dict(keys=torch.ones(3, 2)), "lacks keys or values"),
        (dict(keys=torch.ones(3, 2), values=torch.ones(4, 2)), "a key and a value for each"),
        (dict(keys=torch.ones(3, 2), values=torch.full((3, 2), torch.nan)), "NaN or infinite"),
    ):
        save_file(tensors, path)
        with pytest.raises(InputError, match=told):
            RegionBank.load(path)
    path.write_bytes(b"no bank")
    with pytest.raises(InputError, match="cannot be read"):
        RegionBank.load(path)
