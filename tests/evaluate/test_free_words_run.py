"""`sclip-seg test --vocabulary auto`: what is written, what stands in the signature, and who knows what names mean."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sclip_seg.errors import InputError
from sclip_seg.evaluate import test as tool
from sclip_seg.evaluate.free_words.metrics import NOTHING
from sclip_seg.evaluate.free_words.names import Likeness, SentenceModel, read_mapping
from sclip_seg.evaluate.report.gather import parse_signature
from sclip_seg.toy.make import make

FAST = ("--cfg-options", "model.templates=photo", "test_dataloader.num_workers=0")
COMMON = ("sclip", "--dataset", "toy_stuff", "--backbone", "toy", "--vocabulary", "auto")


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A working folder with three toy scenes."""
    monkeypatch.chdir(tmp_path)
    make(Path("data/toy"), count=3, seed=0)
    return tmp_path


def test_free_words_are_scored_apart_from_any_miou(world, capsys):
    Path("means.txt").write_text("wall brick: brick\nsky:\n# nothing\n")
    more = ("--limit", "2", "--mapping", "means.txt", "--also", "sky", "--drop", "plum, kite")
    assert tool.main([*COMMON, *more, *FAST]) == 0
    told = capsys.readouterr().out
    (file,) = Path("work_dirs").rglob("*.json")
    assert file == Path("work_dirs/sclip/toy/toy_stuff/auto/free_words.json")
    result = json.loads(file.read_text())
    assert "miou" not in json.dumps(result).lower().replace('"foreground_miou"', "")
    names = ["overlap", "nearest", "soft", "recall_soft", "hard", "recall_hard", "mapped", "recall_mapped"]
    assert [*result["metrics"]] == names
    assert all(0 <= row["value"] <= 100 and row["needs"] in told for row in result["metrics"].values())
    assert result["metrics"]["overlap"]["value"] >= result["metrics"]["hard"]["value"]
    assert all("sky" in words and not {"plum", "kite"} & {*words} for words in result["pictures"])
    fields = parse_signature(result["signature"])
    assert fields["vocabulary"].startswith("auto[benchmarks-2#")
    assert fields["vocabulary"].endswith("also=sky]/each picture")
    assert fields["data"].startswith("toy_stuff[2/3]#")
    assert fields["scored"].startswith("toy_stuff#")
    assert "mapped[the mapping means#" in fields["metric"]
    assert "soft[names by toy#" in fields["metric"]
    assert result["partial"]
    assert result["words"]["found"] == sum(map(len, result["pictures"]))
    again = tool.main([*COMMON, *more, *FAST])
    assert again == 0
    assert json.loads(file.read_text()) == result


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((*COMMON, "--resume"), "--resume goes without --vocabulary auto"),
        ((*COMMON, "--memory", "x"), "--memory goes without"),
        ((*COMMON, "--launcher", "pytorch"), "--launcher goes without"),
        (("naclip", *COMMON), "one method at a time"),
        ((*COMMON[:-2], "--words", "imagenet"), "--words goes with --vocabulary auto"),
        ((*COMMON[:-2], "--mapping", "x"), "--mapping goes with"),
    ],
)
def test_options_that_do_not_go_together(arguments, told, capsys):
    with pytest.raises(SystemExit):
        tool.parse([*arguments])
    assert told in capsys.readouterr().err


def test_a_mapping_is_lines_of_words_and_classes(tmp_path):
    classes = [["ground", "sand"], ["cat"]]
    (tmp_path / "m.txt").write_text("Tiger: cat  # nearly\nbeach : SAND\nsky:\n\n")
    found, told = read_mapping(tmp_path / "m.txt", classes)
    assert found == {"tiger": 1, "beach": 0, "sky": NOTHING}
    assert told.startswith("m#")
    for line in ("tiger", "tiger: dog", ": cat"):
        (tmp_path / "m.txt").write_text(f"a: cat\n{line}\n")
        with pytest.raises(InputError, match=r"m.txt, line 2: a line is 'word: class'"):
            read_mapping(tmp_path / "m.txt", classes)


class Ears:
    told = "ears"
    asked = 0

    def features(self, names):
        self.asked += len(names)
        return torch.eye(3)[[len(name) % 3 for name in names]]


def test_likeness_is_the_largest_over_a_class_s_names():
    ears = Ears()
    likeness = Likeness(ears, [["a", "bb"], ["ccc"]])
    assert likeness(["xx", "yyy"]).tolist() == [[1, 0], [0, 1]]
    likeness(["xx", "z"])
    assert ears.asked == 3 + 3


def test_a_sentence_model_is_the_mean_of_its_tokens(tmp_path):
    pytest.importorskip("transformers", reason="a sentence model needs transformers")
    from transformers import BertConfig, BertModel, BertTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "cat"]))
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
    torch.manual_seed(0)
    sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = BertModel(BertConfig(vocab_size=7, **sizes)).eval()
    model.save_pretrained(tmp_path / "mini")
    tokenizer.save_pretrained(tmp_path / "mini")
    names = SentenceModel(str(tmp_path / "mini"))
    found = names.features(["red cat", "cat"]).double().numpy()
    for name, own in zip(["red cat", "cat"], found, strict=True):
        with torch.no_grad():
            states = model(**tokenizer([name], return_tensors="pt")).last_hidden_state[0].double().numpy()
        mean = states.mean(0)
        np.testing.assert_allclose(own, mean / np.linalg.norm(mean), rtol=0, atol=1e-5)
    assert names.told.startswith("mini#")
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        SentenceModel(str(tmp_path))
