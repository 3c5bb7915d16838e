"""A memory that grows region by region: which patches it holds, of what it is told, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save

from sclip_seg.errors import InputError
from sclip_seg.evaluate import remember_region as module
from sclip_seg.evaluate.remember_region import brought, grown, name_of, region_at
from sclip_seg.regions.memory import REST, RegionMemory

MADE = {"tower": "ab", "tail": "t"}


def drawn(count, seed):
    return F.normalize(torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


def keys_called(memory, name):
    return memory.keys[memory.labels == memory.names.index(name)]


def test_a_region_is_what_hangs_together_at_a_point():
    labels = np.array([[1, 1, 0, 2], [0, 1, 0, 2], [0, 0, 2, 0], [1, 0, 0, 0]])
    assert region_at(labels, (0, 0)).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert region_at(labels, (2, 2)).sum() == 3  # by eight neighbours
    assert region_at(labels, (3, 3)).sum() == 9
    assert region_at(labels, (0, 2)).sum() == 9
    for point in ((4, 0), (0, 4), (-1, 0)):
        with pytest.raises(InputError, match="outside the picture"):
            region_at(labels, point)


def test_a_memory_grows_and_what_is_named_is_no_rest():
    picture, mug, cat = drawn(12, 0), slice(0, 3), slice(3, 5)
    first = grown(None, picture[mug], picture[3:], "My mug", "p1", MADE)
    assert (first.own_names, first.regions, first.shots) == (("My mug",), 1, 1)
    assert first.described == "memory: 1 region of 1 name"
    assert torch.equal(keys_called(first, "My mug"), picture[mug])
    assert torch.equal(keys_called(first, REST), picture[3:])
    second = grown(first, picture[cat], torch.cat([picture[:3], picture[5:]]), "cat", "p1", MADE)
    assert second.own_names == ("My mug", "cat")
    assert torch.equal(keys_called(second, REST), picture[5:]), "the mug is no rest, nor is the cat any longer"
    other = drawn(9, 1)
    third = grown(second, other[:2], other[2:], "MY MUG", "p2", MADE)
    assert third.described == "memory: 3 regions of 2 names"
    assert (third.shots, len(keys_called(third, "My mug"))) == (2, 5)
    assert len(keys_called(third, REST)) == 7 + 7
    assert third.made == {**MADE, "regions": "3", "pictures": "p1,p2"}
    assert first.regions == 1, "those before stay as they are"
    labelled = RegionMemory("m", picture[:4], torch.arange(4) % 2, ("a", "b"), 3, MADE)
    assert grown(labelled, other[:2], other[2:], "a", "p2", MADE).described == "memory: 4 pictures of 2 names"


def test_of_many_patches_some_are_kept():
    memory = grown(None, drawn(200, 0), drawn(300, 1), "sky", "p", MADE)
    assert torch.bincount(memory.labels).tolist() == [module.KEPT, module.KEPT]


def test_one_name_does_not_take_everything():
    """p of a name is 1 everywhere where nothing else votes; what is kept of the picture votes against it."""
    mug, others = drawn(4, 0), drawn(30, 1)
    alone = RegionMemory("m", mug, torch.zeros(4, dtype=torch.long), ("mug",), 1, {})
    asked = torch.cat([mug, drawn(10, 2)])
    assert (alone.probabilities(asked, 20, 0.05)[:, 0] > 0.99).all()
    kept = grown(None, mug, others, "mug", "p", MADE)
    p = kept.probabilities(asked, 20, 0.05)[:, kept.names.index("mug")]
    assert (p[:4] > 0.9).all()
    assert (p[4:] < 0.5).float().mean() > 0.7


@pytest.mark.parametrize(
    ("text", "told"),
    [("  ", "say what"), ("a" * 81, "at most 80"), ("a, b", "not one name"), ("a;b", "one name"), ("a\0", "one name")],
)
def test_what_is_no_name_is_refused(text, told):
    with pytest.raises(InputError, match=told):
        name_of(text)
    assert name_of("  my\n mug ") == "my mug"


def test_a_memory_is_bounded(monkeypatch):
    memory = grown(None, drawn(2, 0), drawn(2, 1), "a", "p", MADE)
    monkeypatch.setattr(module, "MOST_NAMES", 1)
    with pytest.raises(InputError, match="1 names are remembered"):
        grown(memory, drawn(2, 2), drawn(2, 3), "b", "q", MADE)
    with pytest.raises(InputError, match="keys of 16 numbers, not 3"):
        grown(memory, torch.eye(3), torch.eye(3), "a", "q", MADE)


def test_what_is_brought_is_held_against_what_it_may_be(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    memory = grown(None, drawn(2, 0), drawn(2, 1), "a", "p", MADE)
    memory.write(path)
    assert torch.equal(brought(path, "mine").labels, memory.labels)
    monkeypatch.setattr(module, "MOST_KEYS", 3)
    with pytest.raises(InputError, match=r"^mine has 4 keys"):
        brought(path, "mine")
    monkeypatch.undo()
    good = {"keys": torch.eye(3), "labels": torch.arange(3)}
    for tensors, told in (
        ({"keys": torch.tensor(1.0), "labels": torch.tensor(0)}, "a key and a label"),
        ({"keys": torch.ones(3), "labels": torch.arange(3)}, "a key and a label"),
        ({"labels": torch.arange(3)}, "cannot be read"),
        (good | {"labels": torch.full((3,), 7)}, "labels without a name"),
        (good | {"labels": torch.tensor([0.0, torch.nan, 1.0])}, "memory"),
        (good, "not a name"),
    ):
        names = "a\n<\x07>\nc" if told == "not a name" else "a\nb\nc"
        path.write_bytes(save(tensors, {"names": names, "shots": "1"}))
        with pytest.raises(InputError, match=told) as caught:
            brought(path, "mine")
        assert str(tmp_path) not in str(caught.value)
    for shots, told in (("x", "cannot be read"), ("9" * 5000, "cannot be read")):
        path.write_bytes(save(good, {"names": "a\nb\nc", "shots": shots}))
        with pytest.raises(InputError, match=told):
            brought(path, "mine")
    path.write_bytes(save(good, {"names": "a\nb\nc", "shots": "1", "regions": "-5"}))
    assert brought(path, "mine").described == "memory: 1 picture of 3 names"
    path.write_bytes(b"no memory")
    with pytest.raises(InputError, match="mine cannot be read"):
        brought(path, "mine")
