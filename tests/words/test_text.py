"""The text bank: order, units and owners, open_clip's own features, and the cache on disk."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from open_clip import get_tokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor

from sclip_seg.errors import InputError
from sclip_seg.towers import weights
from sclip_seg.words import text
from sclip_seg.words.templates import TEMPLATES, templates
from sclip_seg.words.text import encode_prompts, encode_queries, text_bank
from sclip_seg.words.vocabulary import Vocabulary

CLASSES = ["sky; cloud", "grass", "dog; puppy; a rather long name for a hound", "old brick wall"]
FEW = ("a photo of a {}.", "{}", "there is one small {} in the scene, and nothing else.")


@pytest.fixture(scope="module")
def clip(build_dense):
    return build_dense().clip


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.load(CLASSES)


@torch.no_grad()
def by_open_clip(clip, tiny: str, vocabulary: Vocabulary, prompts: tuple[str, ...]) -> Tensor:
    """(Q, D): one query at a time at the full context: normalise, mean, normalise."""
    rows = []
    for query in vocabulary.queries:
        encoded = clip.encode_text(get_tokenizer(tiny)([template.format(query) for template in prompts]))
        encoded = encoded / encoded.norm(dim=1, keepdim=True)
        mean = encoded.mean(0)
        rows.append(mean / mean.norm())
    return torch.stack(rows)


@pytest.mark.parametrize("prompts", [FEW, TEMPLATES["plain"], TEMPLATES["imagenet85"][-8:]], ids=len)
def test_features_are_open_clips_own(prompts, clip, tiny, vocabulary):
    bank = text_bank(clip, tiny, vocabulary, prompts)
    expected = by_open_clip(clip, tiny, vocabulary, prompts)
    torch.testing.assert_close(bank.features, expected, rtol=0, atol=1e-5)
    assert bank.features.dtype == torch.float32
    assert (expected @ expected.T).fill_diagonal_(0).max() < 0.9999  # no two queries could be confused here


def test_owners_order_and_units(clip, tiny, vocabulary):
    bank = text_bank(clip, tiny, vocabulary, FEW)
    assert bank.owner.tolist() == [0, 0, 1, 2, 2, 2, 3]
    assert bank.classes == 4
    torch.testing.assert_close(bank.features.norm(dim=1), torch.ones(7), rtol=0, atol=1e-6)
    for index, query in enumerate(vocabulary.queries):
        alone = text_bank(clip, tiny, Vocabulary.load([query]), FEW).features[0]
        torch.testing.assert_close(bank.features[index], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 5, 1000])
def test_the_batch_size_moves_nothing(batch, clip, tiny, vocabulary, monkeypatch):
    expected = text_bank(clip, tiny, vocabulary, FEW).features
    monkeypatch.setattr(text, "BATCH", batch)
    torch.testing.assert_close(text_bank(clip, tiny, vocabulary, FEW).features, expected, rtol=0, atol=1e-6)


def test_the_context_is_cut_to_the_longest_prompt(clip, tiny, monkeypatch):
    lengths = []
    monkeypatch.setattr(text, "BATCH", 2)
    monkeypatch.setattr(
        text, "encode_prompts", lambda clip, tokens: lengths.append(tokens.shape[1]) or encode_prompts(clip, tokens)
    )
    encode_queries(clip, tiny, ["sky", "an old brick wall", "dog", "wet grass"], ("{}",))
    assert lengths == [3, 6]  # start, words, end; the shortest go first


def test_a_prompt_longer_than_the_context_is_cut_as_open_clip_cuts_it(clip, tiny):
    vocabulary = Vocabulary.load([" ".join(["wall"] * 100), "sky"])
    bank = text_bank(clip, tiny, vocabulary, ("{}",))
    torch.testing.assert_close(bank.features, by_open_clip(clip, tiny, vocabulary, ("{}",)), rtol=0, atol=1e-5)


def test_a_query_in_two_classes_has_one_feature(clip, tiny, monkeypatch):
    encoded = []
    monkeypatch.setattr(
        text, "encode_prompts", lambda clip, tokens: encoded.append(len(tokens)) or encode_prompts(clip, tokens)
    )
    with pytest.warns(UserWarning, match="'bed'"):
        vocabulary = Vocabulary.load(["sky; bed", "dog", "bed"])
    bank = text_bank(clip, tiny, vocabulary, FEW)
    assert torch.equal(bank.features[1], bank.features[3])
    assert bank.owner.tolist() == [0, 0, 1, 2]
    assert sum(encoded) == 3 * len(FEW)


def test_half_precision_encodes_and_stays_near(build_dense, tiny, vocabulary):
    exact, rounded = build_dense(), build_dense()
    rounded.set_precision("bf16")
    banks = [text_bank(dense.clip, tiny, vocabulary, FEW) for dense in (exact, rounded)]
    assert banks[1].features.dtype == torch.float32
    similarity = F.cosine_similarity(banks[0].features, banks[1].features)
    assert 0.999 < similarity.min() < 1


def refuse(*_) -> None:
    raise AssertionError("prompts were encoded again")


def test_the_second_call_reads_the_file(clip, tiny, vocabulary, tmp_path, monkeypatch):
    cache = tmp_path / "not" / "there yet"
    first = text_bank(clip, tiny, vocabulary, FEW, key="weights", cache=cache)
    monkeypatch.setattr(text, "encode_prompts", refuse)
    second = text_bank(clip, tiny, vocabulary, FEW, key="weights", cache=cache)
    assert torch.equal(first.features, second.features)
    assert torch.equal(first.owner, second.owner)
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]  # and no draft is left


def test_another_grouping_of_the_same_queries_reads_the_same_file(clip, tiny, tmp_path, monkeypatch):
    first = text_bank(clip, tiny, Vocabulary.load(["sky; cloud", "dog"]), FEW, cache=tmp_path)
    monkeypatch.setattr(text, "encode_prompts", refuse)
    second = text_bank(clip, tiny, Vocabulary.load(["sky", "cloud; dog"]), FEW, cache=tmp_path)
    assert torch.equal(first.features, second.features)
    assert (first.owner.tolist(), second.owner.tolist()) == ([0, 0, 1], [0, 1, 1])


@pytest.mark.parametrize("change", ["key", "templates", "template order", "queries", "query order", "arch"])
def test_a_file_made_for_something_else_is_not_read(change, clip, tiny, register, tmp_path, monkeypatch):
    queries, prompts, key, arch = ["sky", "dog"], FEW, "weights fp32", tiny
    text_bank(clip, arch, Vocabulary.load(queries), prompts, key=key, cache=tmp_path)
    if change == "key":
        key = "weights bf16"
    elif change == "templates":
        prompts = FEW[:2]
    elif change == "template order":
        prompts = FEW[::-1]
    elif change == "queries":
        queries = ["sky", "dogs"]
    elif change == "query order":
        queries = ["dog", "sky"]
    else:
        arch = "ViT-B-16"
    monkeypatch.setattr(text, "encode_prompts", refuse)
    with pytest.raises(AssertionError, match="encoded again"):
        text_bank(clip, arch, Vocabulary.load(queries), prompts, key=key, cache=tmp_path)


def test_a_bank_belongs_to_a_tower(clip, tiny, register, monkeypatch):
    """Heads, activation, context and versions stand in no weight, and move every feature."""
    keys = {
        "plain": text.bank_key(clip, tiny, ["sky"], FEW, "weights"),
        "key": text.bank_key(clip, tiny, ["sky"], FEW, "others"),
        "order": text.bank_key(clip, tiny, ["sky"], FEW[::-1], "weights"),
        "split": text.bank_key(clip, tiny, ["sky", FEW[0]], FEW[1:], "weights"),
    }
    config = text.open_clip.get_model_config(tiny)
    for name, changed in (("heads", {"heads": 4}), ("tokenizer", {"tokenizer_kwargs": {"clean": "whitespace"}})):
        other = {**config, "text_cfg": {**config["text_cfg"], **changed}}
        with monkeypatch.context() as patch:
            patch.setattr(text.open_clip, "get_model_config", lambda arch, other=other: other)
            keys[name] = text.bank_key(clip, tiny, ["sky"], FEW, "weights")
    for name, place in (("torch", text.torch), ("open_clip", text.open_clip)):
        with monkeypatch.context() as patch:
            patch.setattr(place, "__version__", "9.9")
            keys[name] = text.bank_key(clip, tiny, ["sky"], FEW, "weights")
    with monkeypatch.context() as patch:
        patch.setattr(clip, "context_length", 16)
        keys["context"] = text.bank_key(clip, tiny, ["sky"], FEW, "weights")
    gelu = weights.build_clip(register("tiny_gelu", {**config, "quick_gelu": False}), False)
    keys["activation"] = text.bank_key(gelu, tiny, ["sky"], FEW, "weights")
    assert len({*keys.values()}) == len(keys)
    assert text.bank_key(clip, tiny, ["sky"], FEW, "weights") == keys["plain"]


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "other tensors", "other shape", "not finite", "no digest"])
def test_a_damaged_file_is_not_used(damage, clip, tiny, vocabulary, tmp_path):
    first = text_bank(clip, tiny, vocabulary, FEW, cache=tmp_path)
    [path] = tmp_path.iterdir()
    content = path.read_bytes()
    features = load_file(path)["features"]
    if damage == "other tensors":
        save_file({"something": torch.zeros(2)}, path)
    elif damage == "other shape":
        save_file({"features": torch.zeros(2, 24)}, path)
    elif damage == "not finite":
        odd = features.clone()
        odd[1, 2] = float("nan")
        save_file({"features": odd}, path, {"digest": text._digest(path.stem, odd)})
    elif damage == "no digest":
        save_file({"features": -features}, path)
    else:
        path.write_bytes({"empty": b"", "cut": content[:-100], "noise": bytes(range(256))}[damage])
    second = text_bank(clip, tiny, vocabulary, FEW, cache=tmp_path)
    assert torch.equal(first.features, second.features)
    assert path.read_bytes() == content
    assert load_file(path)["features"].shape == (7, 24)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_changed_byte_changes_a_feature(clip, tiny, vocabulary, tmp_path_factory, at, change):
    folder = tmp_path_factory.mktemp("bank")
    first = text_bank(clip, tiny, vocabulary, FEW[:1], cache=folder)
    [path] = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= change
    path.write_bytes(content)
    assert torch.equal(text_bank(clip, tiny, vocabulary, FEW[:1], cache=folder).features, first.features)


def test_a_bank_under_another_name_is_not_used(clip, tiny, tmp_path):
    first, other = Vocabulary.load(["sky", "dog"]), Vocabulary.load(["cat", "wall"])
    text_bank(clip, tiny, first, FEW, cache=tmp_path)
    [path] = tmp_path.iterdir()
    wanted = text_bank(clip, tiny, other, FEW, cache=tmp_path)
    [second] = set(tmp_path.iterdir()) - {path}
    second.write_bytes(path.read_bytes())
    assert torch.equal(text_bank(clip, tiny, other, FEW, cache=tmp_path).features, wanted.features)


def test_a_cache_that_cannot_be_written_is_done_without(clip, tiny, vocabulary, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="the text bank is not kept"):
        bank = text_bank(clip, tiny, vocabulary, FEW, cache=tmp_path / "file")
    assert torch.equal(bank.features, text_bank(clip, tiny, vocabulary, FEW).features)


def test_template_sets():
    assert {name: len(prompts) for name, prompts in TEMPLATES.items()} == {
        "imagenet80": 80,
        "imagenet85": 85,
        "imagenet7": 7,
        "photo": 1,
        "scenes15": 15,
        "eurosat3": 3,
        "resisc18": 18,
        "plain": 1,
    }
    for prompts in TEMPLATES.values():
        assert len(set(prompts)) == len(prompts)
        assert templates(list(prompts)) == prompts
    assert templates("imagenet85")[:80] == templates("imagenet80")
    assert templates("imagenet80")[0].format("cat") == "a bad photo of a cat."
    assert templates("imagenet80")[-1].format("cat") == "a tattoo of the cat."
    assert templates("plain")[0].format("cat") == "cat"


@pytest.mark.parametrize("given", ["imagenet81", ["a photo"], ["{} beside {}"]], ids=str)
def test_templates_that_are_none_are_named(given):
    with pytest.raises(InputError, match="imagenet81" if isinstance(given, str) else given[0]):
        templates(given)
