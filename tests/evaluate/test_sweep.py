"""What is varied: the cells that `--vary` and the protocol's table make, and the tables and the picture of them."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sclip_seg.config import load_config
from sclip_seg.evaluate.grid import protocol, sweep
from sclip_seg.evaluate.grid.cell import Cell
from sclip_seg.options import parse_options

TOY = ("--datasets", "toy", "--backbones", "toy")
GRID = Path("work_dirs/reproduce")


def table(name):
    return list(csv.reader(io.StringIO((GRID / f"{name}.csv").read_text())))


def test_every_combination_is_a_cell_of_its_own(stub, capsys):
    vary = ("--vary", "model.logit_scale=30,40", "--vary", "model.templates=photo,['a {}.','the {}.']")
    assert stub("--methods", "sclip", "clip", *TOY, *vary) == 0
    assert len(stub.calls()) == 8
    header, *rows = table("sweep")
    assert header == ["method", "backbone", "dataset", "model.logit_scale", "model.templates", "mIoU", "aAcc", "images"]
    assert {tuple(row[3:5]) for row in rows} == {(s, t) for s in ("30", "40") for t in ("photo", "['a {}.','the {}.']")}
    assert (GRID / "sweep.md").read_text().count("\n") == len(rows) + 2
    picture = np.asarray(Image.open(GRID / "sweep.png").convert("L"))
    assert picture.min() < 100 < picture.mean(), "nothing is drawn"
    printed = capsys.readouterr().out
    assert all(f"written to {GRID / 'sweep'}.{kind}" in printed for kind in ("md", "csv", "png"))


@pytest.mark.filterwarnings("error:constrained_layout")
def test_long_values_leave_room_for_the_curves(stub):
    values = ",".join(f"['a photo of {{}}, {word} {20 * 'and again '}.']" for word in ("once", "twice"))
    assert stub("--methods", "sclip", *TOY, "--vary", f"model.templates={values}") == 0
    assert (GRID / "sweep.png").is_file()


def test_the_options_reach_the_config(stub):
    assert stub("--methods", "sclip", *TOY, "--vary", "model.min_area=0,0.25") == 0
    given = [parse_options(call[call.index("--cfg-options") + 1 :]) for call in stub.calls()]
    assert given == [{"model.min_area": 0}, {"model.min_area": 0.25}]
    folders = sorted(path.name for path in GRID.iterdir() if path.is_dir())
    assert folders == ["sclip-min_area=0", "sclip-min_area=0.25"]


@pytest.mark.parametrize("text", ["model.logit_scale", "model.logit_scale=", "=1,2", "a..b=1"])
def test_what_is_no_setting_is_refused(stub, capsys, text):
    assert stub("--methods", "sclip", *TOY, "--vary", text) == 2
    assert "KEY=V" in capsys.readouterr().err
    assert not stub.calls()


def test_a_setting_is_varied_once(stub, capsys):
    assert stub("--methods", "sclip", *TOY, "--vary", "model.min_area=0,1", "--vary", "model.min_area=2") == 2
    assert "names model.min_area twice" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["sclip", "naclip", "trident"])
@pytest.mark.parametrize("dataset", ["voc21", "ade20k", "toy"])
def test_each_cell_of_the_protocol_differs_in_one_thing(method, dataset):
    path = Path(protocol.__file__).parents[3] / "configs" / f"{method}.py"
    base, *others = protocol.cells(path, Cell(method, dataset, "toy"), ())
    own = load_config(path, dataset, "toy").to_dict()
    assert base.variant is None
    assert len({cell.key for cell in others}) == len(others) > 10
    for cell in others:
        assert len(cell.options) == 1
        changed = load_config(path, dataset, "toy", parse_options(cell.options)).to_dict()
        assert changed != own, f"{cell.variant} is the method as it stands"
        assert protocol.CHOICE.search(cell.variant).group(1) in cell.variant


def test_the_protocol_s_table_says_what_each_choice_is_worth(stub):
    assert stub("--table", "protocol", *TOY) == 0
    header, first, *rows = table("protocol")
    assert header == ["method", "dataset", "choice", "value", "mIoU", "difference"]
    assert first == ["sclip", "toy", "as it stands", "", "50.00", ""]
    assert {row[5] for row in rows} == {"+0.00"}
    assert {"templates", "short_side", "stride", "window", "padding", "precision"} <= {row[2] for row in rows}


def test_the_protocol_s_table_stands_alone(stub):
    for others in (("--vary", "model.min_area=0,1"), ("sclip-main",)):
        with pytest.raises(SystemExit) as ended:
            stub("--table", "protocol", *others)
        assert ended.value.code == 2


def test_a_value_that_no_folder_can_be_called_by_has_a_folder():
    cell = sweep.with_options(
        Cell("sclip", "toy", "toy"), "vocabulary=/a b/c:d.txt", ("model.vocabulary=/a b/c:d.txt",)
    )
    assert cell.variant == "vocabulary=abcd.txt"
    assert sweep.axis("model.vocabulary=/a b/c:d.txt").of(cell) == "/a b/c:d.txt"
