"""What a user can get wrong: exit status 2, one message that names the thing, and nothing written."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import Forked
from PIL import Image
from runs import CONFIGS, FAST, VOC, result_of, run, tool
from trees import make_tree

import sclip_seg_cli

LABEL, PICTURE = VOC / "SegmentationClass/2007_000001.png", VOC / "JPEGImages/2007_000001.jpg"


def files():
    """Every file below the working folder and every empty one, the journal of a begun run aside."""
    paths = [path for path in Path().rglob("*") if "progress" not in path.parts]
    whole = [path for path in paths if path.is_file() or not any(path.iterdir())]
    return {path: path.read_bytes() if path.is_file() else None for path in whole}


@pytest.fixture
def voc(tmp_path, monkeypatch, tiny):
    """A working folder with a VOC tree of three pictures."""
    monkeypatch.chdir(tmp_path)
    make_tree("voc21", tmp_path / "data")


@pytest.fixture
def loader_ends_at_once(monkeypatch):
    """A loader left behind by an exception waits long for its workers; here it need not, as no process ends."""
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    yield
    gc.collect()


@pytest.fixture
def refused(voc, capsys, loader_ends_at_once):
    """`refused(config, *arguments, options=...)`: the message of a run that must be refused and leave no trace."""

    def message(config="sclip.py", *arguments, options=()):
        before = files()
        capsys.readouterr()
        assert run(config, *arguments, options=options) == 2
        told = capsys.readouterr()
        assert files() == before
        assert told.err.startswith("error: ")
        assert told.err.count("error: ") == 1
        assert "Traceback" not in told.err
        assert "mIoU" not in told.out
        return told.err.removeprefix("error: ").strip()

    return message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["slip.py"], f"there is no config {CONFIGS}/slip.py; did you mean sclip or"),
        (["/nowhere/sclip.py"], "there is no config /nowhere/sclip.py"),
        (["_base_/datasets/voc21.py"], "is no method's config, it lacks axes, model, "),
        (["sclip.py", "--dataset", "voc12"], "there is no dataset 'voc12'; did you mean voc21"),
        (["sclip.py", "--dataset", "imagenet"], "there is no dataset 'imagenet'; there are: ade20k, ade847, "),
        (
            ["sclip.py", "--backbone", "openai_vitb16"],
            "there is no backbone 'openai_vitb16'; did you mean openai_vit_b16",
        ),
    ],
)
def test_no_such_name(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("modl.short_side=1", "the unknown key 'modl.short_side'; did you mean model?"),
        ("model.shortside=1", "model (OpenVocabSegmentor) has no key 'shortside'; did you mean short_side?"),
        ("model.backbone.arc=ViT", "model.backbone (DenseCLIP) has no key 'arc'; did you mean arch?"),
        ("model.backbone.tail.residul=True", "(LastBlock) has no key 'residul'; did you mean residual?"),
        ("model.backbone.tail.attention.sigma=2", "model.backbone.tail.attention (csa) has no key 'sigma'"),
        ("model.backbone.tail.attention.type=cs", "there is no such attention; did you mean csa?"),
        ("model.backbone.tail.type=LastBlok", "there is no such tail; did you mean LastBlock?"),
        ("model.backbone.type=DenseClip", "there is no such model; did you mean DenseCLIP"),
        ("model.window.crp=32", "model.window has no key 'crp'; did you mean crop?"),
        ("model.window.batch=0", "window.batch is 0"),
        ("model.window.stride=33", "window.crop=32, window.stride=33"),
        ("model.precision=fp8", "model.precision is 'fp8'; it must be 'auto' or 'fp32' or 'bf16' or 'fp16'"),
        ("model.templates=photos", "there is no template set 'photos'"),
        ("model.vocabulary=voc21", "no vocabulary named 'voc21'; near: voc21_"),
        ("model.vocabulary=mine.txt", "vocabulary file mine.txt is missing"),
        (
            "model.vocabulary=ade20k",
            "vocabulary ade20k has 150 classes (wall, building, sky, floor, ...), the dataset has 21",
        ),
        ("model.background=21", "background is class 21, and the vocabulary has 21 classes"),
        ("model.background=None", "background_threshold and min_area need a background class"),
        ("model.backbone.arch=ViT-B-17", "has no model 'ViT-B-17'"),
        ("model.backbone.pretrained=mine.safetensors", "there is no weights file mine.safetensors"),
        ("model.backbone.pretrained=openaj", "'openaj' is neither a file nor a tag of tiny"),
        ("test_dataloader.dataset.img_sufix=.png", "no key 'img_sufix'; did you mean 'img_suffix'?"),
        ("test_dataloader.dataset.type=PascalVOC", "no segmentation dataset of type 'PascalVOC'; near: PascalVOC"),
        ("test_evaluator.type=PooledIou", "there is no such metric; did you mean PooledIoU"),
    ],
)
def test_faulty_option(refused, option, message):
    assert message in refused(options=[option])


def test_unknown_key_in_a_config(refused):
    path = Path("mine.py").absolute()
    path.write_text(f"_base_ = '{CONFIGS}/sclip.py'\nmodle = dict(logit_scale=3)\n")
    assert refused(path) == f"{path} has the unknown key 'modle'; did you mean model?"
    path.write_text(f"_base_ = '{CONFIGS}/sclip.py'\nmodel = dict(logit_scal=3)\n")
    assert refused(path) == "model (OpenVocabSegmentor) has no key 'logit_scal'; did you mean logit_scale?"


@pytest.mark.parametrize("limit", ["0", "-1", "some"])
def test_wrong_limit(voc, capsys, limit):
    before = files()
    with pytest.raises(SystemExit) as caught:
        run("sclip.py", "--limit", limit)
    assert caught.value.code == 2
    assert "--limit" in capsys.readouterr().err.splitlines()[-1]
    assert files() == before


def test_no_config_at_all(capsys):
    with pytest.raises(SystemExit) as caught:
        tool.main([])
    assert caught.value.code == 2
    assert "a CONFIG is needed" in capsys.readouterr().err


def test_missing_data_folder(refused):
    Path("data").rename("elsewhere")
    message = refused()
    assert message.startswith("data folder data/VOCdevkit/VOC2012 is missing (in the working folder ")
    assert "\n    SegmentationClass/NAME.png      labels\n" in message


def test_empty_folder(refused):
    for path in (VOC / "JPEGImages").iterdir():
        path.unlink()
    message = refused()
    assert message.startswith("no picture .jpg in data/VOCdevkit/VOC2012/JPEGImages: it is empty; expected")
    assert "JPEGImages/NAME.jpg" in message


def test_pictures_and_labels_that_lack_each_other(refused):
    LABEL.unlink()
    assert refused().startswith("1 picture (2007_000001) of 3 without label (NAME.png in ")
    make_tree("ade20k", Path("data"), count=8)
    folder = Path("data/ade/ADEChallengeData2016/images/validation")
    for path in sorted(folder.iterdir())[:5]:
        path.unlink()
    names = ", ".join(f"ADE_val_{index:08d}" for index in range(3))
    assert refused("sclip.py", "--dataset", "ade20k").startswith(f"5 labels ({names}, ...) of 8 without picture ")


@pytest.mark.parametrize("workers", [0, 2])
def test_label_outside_the_classes(refused, workers):
    Image.fromarray(np.full((53, 73), 21, np.uint8)).save(LABEL)
    message = refused(options=[f"test_dataloader.num_workers={workers}"])
    assert message.startswith(
        f"the label map {LABEL} has the value 21 (3869 pixels); the classes are 0 to 20, and 255 "
    )


def test_label_beyond_8_bits(refused):
    Image.fromarray(np.full((53, 73), 300, np.uint16)).save(LABEL)
    assert f"the label map {LABEL} has the value 300 (3869 pixels); the classes are 0 to 20" in refused()


def test_label_in_colours(refused):
    Image.fromarray(np.zeros((53, 73, 3), np.uint8)).save(LABEL)
    assert f"the label map {LABEL} is a colour picture" in refused()


def test_label_of_another_size(refused):
    Image.fromarray(np.zeros((53, 72), np.uint8)).save(LABEL)
    message = refused()
    assert message.startswith(f"the label map {LABEL} has (53, 72) pixels (height, width)")
    assert f"{PICTURE} (53, 73)" in message


@pytest.mark.parametrize(
    ("path", "what", "content", "workers"),
    [
        (PICTURE, "picture", b"\xff\xd8 no picture", 0),
        (PICTURE, "picture", b"\xff\xd8 no picture", 2),
        (PICTURE, "picture", b"", 0),
        (LABEL, "label map", b"\x89PNG no label", 0),
        (LABEL, "label map", b"\x89PNG no label", 2),
        (LABEL, "label map", b"", 0),
    ],
)
def test_unreadable_file(refused, path, what, content, workers):
    path.write_bytes(content)
    message = refused(options=[f"test_dataloader.num_workers={workers}"])
    assert message.startswith(f"the {what} {path} cannot be read: ")
    assert "\n" not in message


def test_truncated_label(refused):
    LABEL.write_bytes(LABEL.read_bytes()[:-60])
    assert f"the label map {LABEL} cannot be read" in refused()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n\nb\n", "mine.txt, line 2: empty line; every line is a class, so fill it or delete it"),
        ("a\nb; ; c\n", "mine.txt, line 2: empty query in 'b; ; c'"),
        ("a\nb; B\n", "mine.txt, line 2: query 'b' stands twice"),
        ("", "vocabulary mine.txt is empty"),
        ("a\nb\n", "vocabulary mine has 2 classes (a, b), the dataset has 21"),
    ],
)
def test_faulty_vocabulary_file(refused, text, message):
    Path("mine.txt").write_text(text)
    assert message in refused(options=["model.vocabulary=mine.txt"])


def test_query_in_two_classes_is_a_warning(voc, capsys):
    words = [f"thing {index}" for index in range(19)]
    Path("mine.txt").write_text("\n".join(["sky; bed", *words, "bed"]) + "\n")
    assert run("sclip.py", "--work-dir", "mine", options=["model.vocabulary=mine.txt"]) == 0
    told = capsys.readouterr().err
    assert told.count("warning: ") == 1
    assert "warning: vocabulary mine: query 'bed' stands in class 0 (sky) and in class 20 (bed)" in told
    assert "its IoU is 0" in told
    assert result_of("mine")["per_class"]["tvmonitor"]["iou"] == 0


def test_warning_of_a_folder_dataset_comes_once(voc, capsys):
    words = ["sky; bed", *(f"thing {index}" for index in range(19)), "bed"]
    data = f"dict(_delete_=True, type='FolderDataset', data_root='{VOC}', pictures='JPEGImages', \
labels='SegmentationClass', ann_file='ImageSets/Segmentation/val.txt', vocabulary={words!r}, \
pipeline=[dict(type='LoadPicture'), dict(type='LoadLabels'), dict(type='PackSegInputs', \
meta_keys=('sample_idx', 'img_path', 'seg_map_path', 'ori_shape'))])"
    path = Path("mine.py").absolute()
    path.write_text(
        f"_base_ = '{CONFIGS}/sclip.py'\nmodel = dict(vocabulary={words!r})\ntest_dataloader = dict(dataset={data})\n"
    )
    assert run(path, "--work-dir", "mine") == 0
    assert capsys.readouterr().err.count("stands in class 0") == 1


def test_refused_run_leaves_an_older_result_and_other_files(refused):
    assert run("sclip.py", "--work-dir", "mine") == 0
    Path("mine/notes.txt").write_text("kept")
    LABEL.write_bytes(b"")
    assert "cannot be read" in refused("sclip.py", "--work-dir", "mine", options=["model.logit_scale=3"])
    Path("notes").mkdir()
    Path("notes/mine.txt").write_text("kept")
    assert "cannot be read" in refused("sclip.py", "--work-dir", "notes")


def test_process_ends_with_status_2_and_no_traceback(voc, tmp_path_factory):
    LABEL.write_bytes(b"")
    options = [option.replace("arch=tiny", "arch=toy") for option in FAST] + ["test_dataloader.num_workers=2"]
    before = files()
    printed = tmp_path_factory.mktemp("printed") / "log"
    arguments = [str(CONFIGS / "sclip.py"), "--cfg-options", *options]
    assert Forked(lambda: sclip_seg_cli.launch("test", arguments), printed).wait() == 2
    text = printed.read_text()
    assert text.splitlines()[-1].startswith(f"error: the label map {LABEL} cannot be read: ")
    assert "Traceback" not in text
    assert files() == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("test_dataloader.dataset.pipeline=[]", "pipeline gives no picture: it ends with PackSegInputs"),
        ("model.templates=[]", "there is no template"),
        ("model.templates=[a {} of {x}]", "must be a text with one {}"),
    ],
)
def test_nothing_to_work_with(refused, option, message):
    assert message in refused(options=[option])
