"""What is scored though it cannot be meant is said: in the run, beside the table, in result.json, and by verify."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_config import write_config
from PIL import Image
from runs import result_of, run

from sclip_seg.data.labels import default_ignore
from sclip_seg.data.notes import keys_of, notes_on, orientation
from sclip_seg.data.prepare import command as prepare
from sclip_seg.data.prepare import work
from sclip_seg.data.prepare.verify import verify
from sclip_seg.picture.segmentor import OpenVocabSegmentor

WORDS = ["sky", "tree", "sea", "sand"]


@given(
    counts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=9),
    zero=st.booleans(),
    partial=st.booleans(),
)
def test_classes_without_a_label_are_named_and_no_others(counts, zero, partial):
    names = [f"name{index}." for index in range(len(counts))]
    labelled, predicted = np.array(counts).T
    notes = notes_on(dict(classes=names, reduce_zero_label=zero), labelled, predicted, [], partial)
    said = [note for note in notes if note.startswith("no label map")]
    absent = [index for index in range(len(counts)) if not labelled[index]]
    assert bool(said) == (bool(absent) and not partial)
    for index, name in enumerate(names):
        assert (f"{name} (value {index + zero})" in "".join(said)) == (index in absent and not partial)
    assert ("as 0 in the mean" in "".join(said)) == (not partial and bool(predicted[absent].any()))
    one = [note for note in notes if "was given one class" in note]
    assert bool(one) == (np.count_nonzero(predicted) == 1 and np.count_nonzero(labelled) > 1)


@given(st.lists(st.sampled_from(["sky", "Sky", " sky ", "tree", "SEA", "sea", "sky (class 2)"]), min_size=1))
def test_a_name_that_stands_twice_is_named_and_loses_no_row(names):
    plain = [name.strip().lower() for name in names]
    said = [note for note in notes_on(dict(classes=names), np.ones(len(names)), None, [], False) if "twice" in note]
    assert len(said) == len(plain) - len(set(plain))
    keys = keys_of(names)
    assert len(set(keys)) == len(names)
    assert all(key.startswith(name) for key, name in zip(keys, names, strict=True))


@pytest.mark.parametrize("classes", [256, 300, 847])
def test_255_as_a_class_of_8_bit_maps(classes):
    meta = dict(classes=[f"c{index}." for index in range(classes)], ignore_index=default_ignore(classes))
    labelled = np.zeros(classes)
    labelled[[0, 3, 255]] = 1
    told = "255 is the value of class c255., and no label map has one beyond it"
    assert any(told in note for note in notes_on(meta, labelled, None, [], True)) == (classes > 256)
    labelled[-1] = 1
    assert not notes_on(meta, labelled, None, [], True)


@pytest.mark.parametrize("turn", range(9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_pictures_that_exif_turns(tmp_path, turn, suffix):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = str(tmp_path / f"a{suffix}")
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    assert orientation(path) == (turn or 1)
    notes = notes_on(dict(classes=WORDS), np.ones(4), None, [path], True)
    assert [f"a{suffix}" in note and "EXIF" in note for note in notes] == [True] * (turn > 1)


def test_other_files_are_not_turned(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    assert [orientation(str(tmp_path / name)) for name in ("a.png", "b.jpg", "absent.jpg")] == [1, 1, 1]


@pytest.fixture
def data(tmp_path, monkeypatch, tiny):
    """`data(values, words, keys)`: pictures and label maps, 48 pixels square, and the config over them."""
    monkeypatch.chdir(tmp_path)

    def make(values, words=WORDS, keys="", count=1):
        random = np.random.default_rng(0)
        for folder in "pl":
            Path(folder).mkdir(exist_ok=True)
        for index in range(count):
            Image.fromarray(random.integers(0, 256, (48, 48, 3)).astype(np.uint8)).save(f"p/{index}.png")
            stripes = np.resize(np.array(values, np.uint8), 8).repeat(6)
            Image.fromarray(np.tile(stripes, (48, 1))).save(f"l/{index}.png")
        kind = f"type='FolderDataset', pictures='p', labels='l', vocabulary={words!r}{keys}"
        return write_config(tmp_path, kind, words)

    return make


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


CASES = {
    "masks_of_0_and_255": ([0, 255], WORDS[:2], "", "the class tree (value 1)", "write 1 for it"),
    "labels_from_1": ([1, 2, 3], WORDS, "", "the class sky (value 0)", "set reduce_zero_label=True"),
    "labels_from_0": ([0, 1, 2, 3], WORDS, ", reduce_zero_label=True", "sand (value 4)", "do not set"),
    "twice": ([0, 1, 2, 3], ["sky", "tree", "Tree", "sand"], "", "the class name Tree stands twice", "class 1 and 2"),
    "one_class": ([0, 255], ["sky"], "", "sky is the only class", "any method scores the same"),
}


@pytest.mark.parametrize("name", CASES)
def test_said_in_the_run_beside_the_table_in_the_result_and_by_verify(name, data, capsys):
    values, words, keys, *parts = CASES[name]
    config = data(values, words, keys)
    assert run(config, "--work-dir", "run") == 0
    told = capsys.readouterr()
    kept = result_of("run")["warnings"]
    assert [f"warning: {text}" for text in kept] == told.err.strip().splitlines()
    (note,) = [text for text in kept if parts[0] in text]
    assert parts[1] in note
    table, _, below = told.out.partition("\nwarning: ")
    assert f"{note}\n" in f"{below.partition(chr(10) + 'mIoU')[0]}\n"
    assert table.rstrip().endswith("+")
    found = verify(
        dict(
            type="FolderDataset",
            data_root="",
            pictures="p",
            labels="l",
            picture_suffix=".png",
            vocabulary=words,
            reduce_zero_label="reduce" in keys,
        )
    )
    assert any(parts[0] in text for text in found.notes)
    assert not found.faults


def test_nothing_is_said_where_all_is_well(data, capsys):
    assert run(data([0, 1, 2, 3]), "--work-dir", "run") == 0
    assert not capsys.readouterr().err
    assert result_of("run")["warnings"] == []


def test_a_part_of_a_dataset_may_lack_classes(data, capsys):
    config = data([0, 1], count=2)
    assert run(config, "--work-dir", "run", "--limit", "1") == 0
    assert not capsys.readouterr().err
    assert run(config, "--work-dir", "whole") == 0
    assert "the classes sea (value 2), sand (value 3)" in capsys.readouterr().err


def test_a_turned_square_is_named_after_a_resumed_run_too(data, monkeypatch, capsys):
    """The picture that is turned is scored before the run is stopped."""
    config = data([0, 1, 2, 3], count=3)
    turned("p/0.png")
    real, seen = OpenVocabSegmentor.predict, []

    def stop_late(self, *arguments, **others):
        seen.append(1)
        if len(seen) > 1:
            raise KeyboardInterrupt
        return real(self, *arguments, **others)

    monkeypatch.setattr(OpenVocabSegmentor, "predict", stop_late)
    with suppress(KeyboardInterrupt):
        assert run(config, "--work-dir", "run") != 0
    monkeypatch.setattr(OpenVocabSegmentor, "predict", real)
    assert run(config, "--work-dir", "run", "--resume") == 0
    (note,) = result_of("run")["warnings"]
    assert note.startswith("1 picture of 3 is turned as its EXIF says (0.png)")
    assert f"warning: {note}" in capsys.readouterr().err


def test_prepare_data_says_it(data, monkeypatch, capsys, tmp_path):
    data([0, 255], WORDS[:2])
    turned("p/0.png")
    folder = tmp_path / "datasets"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "dataset = dict(type='FolderDataset', data_root='', pictures='p', labels='l', picture_suffix='.png',\n"
        f"    vocabulary={WORDS[:2]!r})\nsettings = dict(vocabulary={WORDS[:2]!r}, background=None)\n"
    )
    monkeypatch.setattr(work, "DATASETS", folder)
    assert prepare.main(["verify", "mine"]) == 0
    told = capsys.readouterr()
    assert "mine: 1 pictures looked at, 1 of them without a fault" in told.out
    first, second = told.err.strip().splitlines()
    assert first.startswith("warning: no label map has the class tree (value 1)")
    assert second.startswith("warning: 1 picture of 1 is turned")
