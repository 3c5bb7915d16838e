"""Text towers and tokenizers of other kinds than CLIP's: encoded as open_clip encodes, or refused in a line."""

import socket
from contextlib import suppress
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from sclip_seg.errors import InputError
from sclip_seg.towers.encoder import DenseCLIP
from sclip_seg.words import text, tokenizers
from sclip_seg.words.prompts import tell_of_prompts
from sclip_seg.words.text import encode_queries, text_bank
from sclip_seg.words.text_tower import ends_of, width_of
from sclip_seg.words.vocabulary import Vocabulary

VISION = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
BASE = {"context_length": 12, "vocab_size": 40, "width": 32, "heads": 2, "layers": 2}
NOUNS = "a photo of the cat dog wall brick old sky grass tree"
WORDS = ["[PAD]", "[UNK]", "</s>", *NOUNS.split()]
# The kinds of text tower in open_clip's configs, by what tells them apart; whether the context can be cut.
KINDS = {
    "CLIP": (dict(vocab_size=49408), False, True),
    "EVA-CLIP": (dict(vocab_size=49408), True, True),
    "MobileCLIP": (dict(vocab_size=49408, no_causal_mask=True), True, False),
    "SigLIP": (dict(no_causal_mask=True, proj_bias=True, pool_type="last", norm_kwargs={"eps": 1e-6}), True, False),
    "SigLIP i18n": (dict(no_causal_mask=True, pool_type="last", proj_type="none", width=24), True, False),
    "MetaCLIP 2": (dict(pool_type="eos", eos_id=2), False, True),
    "CLIPA": (dict(pool_type="last", no_causal_mask=True), False, False),
    "CoCa": (dict(vocab_size=49408, embed_cls=True, output_tokens=True), None, False),
}
QUERIES, TEMPLATES = ["cat", "old brick wall", "the sky"], ("a photo of the {}", "{}")


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """A folder with a tokenizer of Hugging Face's, as the hub's repositories have it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    own = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    own.normalizer, own.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    own.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    own.save(str(folder / "tokenizer.json"))
    content = '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "eos_token": "</s>"}'
    (folder / "tokenizer_config.json").write_text(content)
    return folder


@pytest.fixture
def build(register, words):
    """`build(kind)`: a tiny model of that kind, and its name."""

    def made(kind: str):
        settings, custom, _ = KINDS[kind]
        name = f"tiny text {kind}"
        own = BASE | settings
        if own["vocab_size"] == 40:
            own |= {"hf_tokenizer_name": "someone/words", "tokenizer_kwargs": {"clean": "canonicalize"}}
        config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": own} | ({"custom_text": True} if custom else {})
        if custom is None:
            decoder = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
            config |= {"multimodal_cfg": decoder, "custom_text": True, "vision_cfg": VISION | {"output_tokens": True}}
        tokenizers.look_in(register(name, config), [words])
        dense = DenseCLIP(name, None, dict(type="LastBlock", attention="qk"))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in dense.clip.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        return dense.clip, name

    return made


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_queries_are_encoded_as_open_clip_encodes(kind, build):
    clip, arch = build(kind)
    tokens = tokenizers.tokenizer(arch)(["a photo of the cat", "wall"], context_length=12)
    assert (ends_of(clip, tokens) is not None) == KINDS[kind][2]
    assert width_of(clip) == 24
    expected = []
    for query in QUERIES:
        prompts = tokenizers.tokenizer(arch)([template.format(query) for template in TEMPLATES], context_length=12)
        expected.append(F.normalize(F.normalize(clip.encode_text(prompts), dim=-1).mean(0), dim=0))
    found = encode_queries(clip, arch, QUERIES, TEMPLATES)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-5)
    assert (found @ found.T).fill_diagonal_(0).max() < 0.9999  # they differ


@pytest.mark.parametrize("kind", ["MetaCLIP 2", "EVA-CLIP"])
def test_the_context_is_cut_where_it_can_be(kind, build, monkeypatch):
    clip, arch = build(kind)
    lengths, plain = [], text.encode_prompts
    monkeypatch.setattr(
        text, "encode_prompts", lambda clip, tokens: lengths.append(tokens.shape[1]) or plain(clip, tokens)
    )
    encode_queries(clip, arch, ["cat", "dog"], ("{}",))
    assert max(lengths) < 5


def test_a_bank_of_another_tokenizer_is_kept_and_read(build, tmp_path, monkeypatch):
    clip, arch = build("SigLIP")
    vocabulary = Vocabulary.load(["cat", "dog; old dog"])
    first = text_bank(clip, arch, vocabulary, TEMPLATES, "key", tmp_path)
    monkeypatch.setattr(text, "encode_queries", lambda *_: pytest.fail("encoded again"))
    assert torch.equal(text_bank(clip, arch, vocabulary, TEMPLATES, "key", tmp_path).features, first.features)


def test_what_is_cut_off_is_told_of_another_tokenizer_too(build):
    clip, arch = build("SigLIP")
    with pytest.warns(UserWarning, match=r"reads 12 tokens .* 'cat cat .* \(13\)"):
        tell_of_prompts(clip, arch, [" ".join(["cat"] * 12), "dog"], ("{}",))


def test_a_tokenizer_without_its_package_is_refused_before_anything_is_built(build, register, monkeypatch):
    _, arch = build("SigLIP")
    monkeypatch.setattr(tokenizers, "find_spec", lambda name: None)
    monkeypatch.setattr(open_clip, "create_model", lambda *_, **__: pytest.fail("something was built"))
    with pytest.raises(InputError, match=r"needs the package transformers: pip install 'sclip_seg\[words\]'"):
        DenseCLIP(arch, "some.pt", dict(type="LastBlock", attention="qk"))


def test_a_tokenizer_that_is_nowhere_is_a_line(register, monkeypatch):
    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": BASE | {"hf_tokenizer_name": "no-one/none"}}
    arch = register("tiny without words", config)
    with pytest.raises(InputError) as caught:
        tokenizers.tokenizer(arch)
    assert "the tokenizer no-one/none of tiny without words is not on this machine" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_that_a_tokenizer_names_is_not_run(words, register, tmp_path):
    for file in words.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    content = '{"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}'
    (tmp_path / "tokenizer_config.json").write_text(content)
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": BASE | {"hf_tokenizer_name": "no-one/evil"}}
    arch = register("tiny evil", config)
    tokenizers.look_in(arch, [tmp_path])
    with suppress(InputError):
        tokenizers.tokenizer(arch)
    assert not (tmp_path / "ran").exists()
