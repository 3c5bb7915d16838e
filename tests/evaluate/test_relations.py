"""SG-IoU: its file, its formula, and beside the IoU of a run."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from runs import result_of, run
from trees import make_tree

from sclip_seg.errors import InputError
from sclip_seg.evaluate.metric import PooledIoU
from sclip_seg.evaluate.relations import Relations

CLASSES = ("thing", "animal", "dog", "plant", "never")
LINES = "# ours\ndog: animal; thing\nanimal: thing   # but not the other way\n\nplant: thing\nnever: animal\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ours.txt"
    path.write_text(LINES)
    return str(path)


def by_hand(n: np.ndarray, fathers: dict[int, list[int]]) -> list[float]:
    """Of counts, predictions by row."""
    found = []
    for c in range(len(n)):
        granted = float(n[c, c])
        for f in fathers.get(c, []):
            granted += n[f, c] * ((n[f, c] + n[f, f]) / n[f].sum() if n[f].sum() else 1)
        union = n[:, c].sum() + n[c].sum() - n[c, c]
        found.append(100 * granted / union if union else np.nan)
    return found


def scored(metric: PooledIoU, pairs: list) -> dict:
    metric.dataset_meta = dict(classes=CLASSES)
    for index, (label, prediction) in enumerate(pairs):
        sample = SegDataSample(metainfo=dict(sample_idx=index, seg_map_path="", img_path=""))
        sample.set_data(dict(gt_sem_seg=PixelData(data=label[None]), pred_sem_seg=PixelData(data=prediction[None])))
        metric.process({}, [sample.to_dict()])
    return metric.evaluate(len(pairs))


def test_equals_the_formula_and_leaves_the_iou(file):
    drawn = torch.Generator().manual_seed(0)
    pairs = [[torch.randint(0, 4, (9, 11), generator=drawn) for _ in range(2)] for _ in range(3)]
    pairs[0][0][0] = 255
    n = np.zeros((5, 5), np.int64)
    for label, prediction in pairs:
        for g, p in zip(label.flatten().tolist(), prediction.flatten().tolist(), strict=True):
            if g != 255:
                n[p, g] += 1
    plain, excusing = PooledIoU(), PooledIoU(relations=file)
    assert scored(plain, pairs) == scored(excusing, pairs)
    assert plain.per_class == excusing.per_class
    expected = by_hand(n, {2: [0, 1], 1: [0], 3: [0], 4: [1]})
    found = excusing.sg_iou["per_class"]
    assert found["never"] is None
    assert [found[name] for name in CLASSES[:4]] == pytest.approx(expected[:4])
    assert excusing.sg_iou["mean"] == pytest.approx(np.mean(expected[:4]))
    assert found["thing"] == plain.per_class["thing"]["iou"]
    assert all(found[name] > plain.per_class[name]["iou"] for name in ("animal", "dog", "plant"))


def test_the_digest_is_of_what_is_said(file, tmp_path):
    told = Relations.load(file).told
    assert told.startswith("sg:ours#")
    (tmp_path / "ours.txt").write_text("plant: thing\nnever: animal\nanimal: thing\ndog: thing; animal\n")
    assert Relations.load(file).told == told
    (tmp_path / "ours.txt").write_text(LINES.replace("never: animal", "never: dog"))
    assert Relations.load(file).told != told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("dog", "line 1: a line is 'child: father; father', not 'dog'"),
        (": dog", "line 1: a line is"),
        ("dog: ;", "line 1: a line is"),
        ("dog: dog", "line 1: a line is"),
        ("dog: animal\ndog: thing", "line 2: 'dog' has a line already"),
    ],
)
def test_a_broken_line_is_named(line, told, tmp_path):
    (tmp_path / "ours.txt").write_text(line)
    with pytest.raises(InputError, match=told):
        Relations.load(str(tmp_path / "ours.txt"))


def test_a_name_of_no_class_and_no_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="name 'anmal', which is no class; did you mean animal"):
        Relations("ours", {"dog": ("anmal",)}).of(CLASSES)
    with pytest.raises(InputError):
        Relations.load(str(tmp_path / "none.txt"))


def test_a_run_has_both_and_goes_on_from_its_journal(tmp_path, monkeypatch, tiny, capsys):
    monkeypatch.chdir(tmp_path)
    make_tree("voc21", tmp_path / "data", count=2)
    (tmp_path / "ours.txt").write_text("cat: dog\ndog: cat; horse\n")
    options = ["test_evaluator.relations=ours.txt"]
    assert run("sclip.py", "--dataset", "voc21", "--work-dir", "with", options=options) == 0
    assert "SG-IoU" in capsys.readouterr().out
    assert run("sclip.py", "--dataset", "voc21", "--work-dir", "without") == 0
    excusing, plain = result_of("with"), result_of("without")
    assert excusing["miou"] == plain["miou"]
    assert "sg_iou" not in plain
    assert excusing["sg_iou"]["mean"] >= excusing["miou"]
    assert "|metric:sg:ours#" in excusing["signature"]
    assert "|metric:" not in plain["signature"]
    assert json.loads((tmp_path / "with" / "result.json").read_text())["sg_iou"]["relations"].startswith("sg:ours#")
    (tmp_path / "ours.txt").write_text("cat: dgo\n")
    assert run("sclip.py", "--dataset", "voc21", "--work-dir", "with", options=options) == 2
