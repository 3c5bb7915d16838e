"""What people hand in: texts of any editor, names in either Unicode form, `~`, hidden folders, class files."""

import codecs
import os
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import open_clip
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from sclip_seg.data.check import check_dataset
from sclip_seg.data.files import find_files, read_list
from sclip_seg.data.loading import read_picture
from sclip_seg.data.prepare.subset import cut_subset
from sclip_seg.errors import InputError
from sclip_seg.handed_in import at_home, composed, existing, read_text
from sclip_seg.show import attention_command, demo, demo_command
from sclip_seg.words.auxiliary_texts import AuxiliaryTexts
from sclip_seg.words.read import read_words, split_words
from sclip_seg.words.vocabulary import Vocabulary, shipped

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
MARKS = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}
LINES = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="\ufeff;#,"), min_size=1),
    min_size=1,
    max_size=6,
)
NFC, NFD = (unicodedata.normalize(form, "café/Ünï") for form in ("NFC", "NFD"))


def written(path, lines, encoding="utf-8", end="\n", last=True):
    text = end.join(lines) + end * last
    path.write_bytes(MARKS.get(encoding, b"") + text.encode(encoding))
    return path


@given(LINES, st.sampled_from(ENCODINGS), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_every_editors_file_is_the_same_text(tmp_path_factory, lines, encoding, end, last):
    path = written(tmp_path_factory.getbasetemp() / "list.txt", lines, encoding, end, last)
    assert read_text(path, "list") == "\n".join(lines) + "\n" * last
    assert read_list(str(path)) == [composed(line.strip()) for line in lines]


@given(LINES, st.sampled_from(ENCODINGS), st.sampled_from(["\n", "\r\n"]))
def test_vocabularies_and_their_digests_do_not_depend_on_the_editor(tmp_path_factory, lines, encoding, end):
    path = tmp_path_factory.getbasetemp() / "words.txt"
    found = []
    for chosen, ends, form in (("utf-8", "\n", "NFC"), (encoding, end, "NFD")):
        written(path, [unicodedata.normalize(form, line) for line in lines], chosen, ends)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(Vocabulary.load(str(path)))
    assert found[0] == found[1]
    assert found[0].digest == found[1].digest


def test_shipped_vocabularies_are_nfc_already():
    for name in shipped():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert all(query == composed(query) for query in Vocabulary.load(name).queries)


def test_the_tokenizer_reads_nfc_anyway():
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    assert tokenizer([NFC]).tolist() == tokenizer([NFD]).tolist()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("eins\ncafé\n".encode("latin-1"), r"not UTF-8: line 2, byte 8 \(0xe9\); save it as UTF-8"),
        ("a\nb\n".encode("utf-16-le"), "line 1 holds a zero byte; if it is UTF-16, it lacks"),
        (b"a\nb\0c\n", "line 2 holds a zero byte"),
        (codecs.BOM_UTF16_LE + b"a\0b", "not UTF-16"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8: line 1"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(tmp_path, content, reason):
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    readers = (
        lambda: read_list(str(path)),
        lambda: Vocabulary.load(str(path)),
        lambda: AuxiliaryTexts.load(str(path), 0.5),
        lambda: read_words(str(path)),
    )
    for read in readers:
        with pytest.raises(InputError, match=reason) as caught:
            read()
        assert str(path) in str(caught.value)


def test_what_cannot_be_opened_is_said(tmp_path):
    for path in (tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(InputError, match=r"list .* cannot be read|no list"):
            read_text(path, "list")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_auxiliary_texts(tmp_path, encoding):
    texts = AuxiliaryTexts.load(str(written(tmp_path / "a.txt", ["# é", "café", "-"], encoding, "\r\n")), 0.5)
    assert texts.texts == ("café", None)


def dataset(root, kind, **keys):
    """A config, and a tree of two pictures whose names have accents, in NFD, and hidden copies of them."""
    for folder, suffix in (("pictures", ".jpg"), ("labels", ".png")):
        for inner in ("", ".ipynb_checkpoints", ".git/x", "sub/.hidden"):
            (root / folder / inner).mkdir(parents=True, exist_ok=True)
            for name in ("café", "plain"):
                name = unicodedata.normalize("NFD", name) + ("-checkpoint" if inner else "")
                Image.fromarray(np.zeros((4, 5), np.uint8)).save(root / folder / inner / f"{name}{suffix}")
    if kind == "FolderDataset":
        return dict(type=kind, data_root=str(root), pictures="pictures", labels="labels", vocabulary=["a"], **keys)
    prefix = dict(img_path="pictures", seg_map_path="labels")
    return dict(type=kind, data_root=str(root), data_prefix=prefix, metainfo=dict(classes=("a",)), **keys)


KINDS = ("FolderDataset", "BaseSegDataset")


def pairs(config):
    """(picture, label) names, after the check of the folders."""
    init_default_scope("mmseg")
    count = check_dataset(config)
    built = DATASETS.build(config)
    assert len(built) == count
    infos = [built.get_data_info(index) for index in range(count)]
    for info in infos:
        assert Path(info["img_path"]).is_file()
        assert Path(info["seg_map_path"]).is_file()
    return [composed(Path(info["img_path"]).stem) for info in infos]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_hidden_is_data(tmp_path, kind):
    config = dataset(tmp_path, kind)
    assert len(find_files(str(tmp_path), (".jpg", ".png"))) == 4
    assert sorted(pairs(config)) == ["café", "plain"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_lists_name_files_in_either_form(tmp_path, kind, encoding, form):
    config = dataset(tmp_path, kind, ann_file="list.txt")
    written(tmp_path / "list.txt", [unicodedata.normalize(form, "café") + " "], encoding, "\r\n")
    assert pairs(config) == ["café"]


def test_pictures_and_labels_in_different_forms(tmp_path):
    config = dataset(tmp_path, "FolderDataset")
    label = tmp_path / "labels" / unicodedata.normalize("NFD", "café.png")
    label.rename(tmp_path / "labels" / "café.png")
    assert sorted(pairs(config)) == ["café", "plain"]
    assert cut_subset(config, tmp_path / "subset", 1) == 1
    assert [composed(path.name) for path in (tmp_path / "subset/labels").iterdir()] == ["café.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_home_folder(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = dataset(tmp_path / "data", kind, ann_file="~/list.txt")
    written(tmp_path / "list.txt", ["plain"])
    assert pairs(config | {"data_root": "~/data"}) == ["plain"]
    written(tmp_path / "words.txt", ["leaf"])
    assert Vocabulary.load("~/words.txt").names == ("leaf",)
    assert AuxiliaryTexts.load("~/words.txt", 0.5).texts == ("leaf",)
    assert read_words("~/words.txt") == [["leaf"]]
    assert read_picture("~/data/pictures/plain.jpg").shape == (4, 5, 3)
    assert at_home("a~b/~c") == "a~b/~c"


def test_a_folder_that_is_called_so_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~").mkdir()
    assert at_home("~") == "~"


@pytest.mark.parametrize(("there", "asked"), [(NFC, NFD), (NFD, NFC), (NFC, NFC), (NFD, NFD)])
def test_paths_are_found_in_either_form(tmp_path, there, asked):
    (tmp_path / there).mkdir(parents=True)
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / there / "a.png")
    assert existing(tmp_path / asked / "a.png").is_file()
    assert existing(tmp_path / asked / "b.png") == tmp_path / asked / "b.png"
    assert read_picture(tmp_path / asked / "a.png").shape == (4, 5, 3)
    for place in (tmp_path / asked, f"{tmp_path / asked}/*.png"):
        assert [path.name for path in demo.find([str(place)])[0]] == ["a.png"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "cls_mine.txt", ["# mine", "tomato; red thing", "leaf"], "utf-8-sig", "\r\n")
    written(tmp_path / "leaf", ["nothing"])
    written(tmp_path / "classes.names", ["tomato", "leaf"])
    return tmp_path


def test_class_files_are_read(folder):
    classes = [["tomato", "red thing"], ["leaf"]]
    for form in ("cls_mine.txt", " cls_mine.txt ", "./cls_mine.txt", Path("cls_mine.txt"), folder / "cls_mine.txt"):
        assert read_words(form) == classes
    assert read_words("classes.names") == [["tomato"], ["leaf"]]
    assert read_words(os.path.join(".", "leaf")) == [["nothing"]]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("absent.txt", r"absent\.txt is missing"),
        (Path("absent"), "absent is missing"),
        ("cls_mine.txt, tomato", r"'cls_mine\.txt' is the name of a class file"),
        (["cls_mine.txt"], r"'cls_mine\.txt' is the name of a class file"),
        (["tomato; other.TXT"], r"'other\.TXT' is the name of a class file"),
    ],
)
def test_names_of_class_files_are_no_words(folder, words, reason):
    with pytest.raises(InputError, match=reason):
        read_words(words)


@pytest.mark.parametrize("word", ["leaf", "voc21_bg26"])
def test_words_that_name_a_file_by_chance_stay_words(folder, word):
    with pytest.warns(UserWarning, match=f"'{word}' is taken for a word"):
        assert read_words(word) == [[word]]


@pytest.mark.parametrize("words", ["tomato, leaf", "black/white, tv", "a.b", "x" * 5000])
def test_other_words_are_words(folder, words, recwarn):
    assert read_words(words) == split_words(words)
    assert not recwarn


def test_typed_words_of_the_page_read_no_file(folder):
    with pytest.raises(InputError, match="name of a class file"):
        split_words("cls_mine.txt")


@pytest.mark.parametrize("tool", [demo_command, attention_command], ids=lambda tool: tool.__name__)
def test_tools_read_a_class_file(folder, tool, capsys):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save("p.png")
    more = ["--device", "cpu"] if tool is demo_command else ["--scores", "--methods", "sclip"]
    assert tool.main(["p.png", "--classes", "cls_mine.txt", "--backbone", "toy", *more]) == 0
    told = capsys.readouterr()
    assert "never learned the words 'red', 'thing'" in told.err
    assert tool.main(["p.png", "--classes", "absent.txt", "--backbone", "toy", *more]) == 2
    assert capsys.readouterr().err.startswith("error: vocabulary file ./absent.txt is missing")
