"""`sclip-seg reproduce` around a stand-in for runs: what is run, skipped, reported, gone on with and refused."""

import io
import json
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from grids import ROOT, stop_when, tool, when
from PIL import Image

from sclip_seg.config import CONFIGS, choices, load_config
from sclip_seg.data.digest import digest_of
from sclip_seg.evaluate.grid import compare
from sclip_seg.evaluate.grid.cell import Cell, Request, parse_options
from sclip_seg.evaluate.grid.reproduce import plan
from sclip_seg.evaluate.grid.run import Outcome
from sclip_seg.evaluate.grid.screen import Screen, clock
from sclip_seg.evaluate.grid.tables import TABLES
from sclip_seg.evaluate.published_figures import Figure, load
from sclip_seg.toy.make import make

TOY = ("--datasets", "toy", "--backbones", "toy")
GRID = Path("work_dirs/reproduce")


def test_a_second_run_does_nothing(stub, capsys):
    arguments = ("--methods", "clip", "sclip", *TOY)
    assert stub(*arguments) == 0
    assert [Path(call[1]).stem for call in stub.calls()] == ["clip", "sclip"]
    assert (GRID / "clip/toy/toy/result.json").is_file()
    assert "done 2, skipped 0, failed 0" in capsys.readouterr().out
    assert stub(*arguments) == 0
    assert len(stub.calls()) == 2
    printed = capsys.readouterr().out
    assert "done 0, skipped 2, failed 0" in printed
    assert "begins" not in printed
    assert stub(*arguments, "--anew") == 0
    assert len(stub.calls()) == 4


def test_a_method_by_the_path_of_a_config_of_ones_own(stub, capsys):
    Path("mine").mkdir()
    Path("mine/_base_").symlink_to(ROOT / "configs" / "_base_")
    shutil.copy(ROOT / "configs" / "sclip.py", "mine/own.py")
    assert stub("--methods", "mine/own.py", "clip", str(ROOT / "configs" / "clip.py"), *TOY) == 0
    assert [call[1] for call in stub.calls()] == ["mine/own.py", str(CONFIGS / "clip.py")]
    assert (GRID / "own/toy/toy/result.json").is_file()
    shutil.copy("mine/own.py", "mine/clip.py")
    for methods, said in (
        (["clip", "mine/clip.py"], "--methods has two methods of one name: clip, clip"),
        (["mine/ow.py"], "there is no config mine/ow.py; did you mean own?"),
        (["slip"], "there is no method 'slip'; did you mean sclip"),
    ):
        assert stub("--methods", *methods, *TOY) == 2
        assert said in capsys.readouterr().err
    assert len(stub.calls()) == 2


def test_other_options_are_measured_again(stub):
    arguments = ("--methods", "sclip", *TOY)
    assert stub(*arguments) == 0
    assert stub(*arguments, "--cfg-options", "model.precision=bf16") == 0
    assert stub.calls()[1][-2:] == ["--cfg-options", "model.precision=bf16"]
    assert stub(*arguments, "--cfg-options", "model.precision=bf16") == 0
    assert len(stub.calls()) == 2


def test_label_maps_are_kept_on_request(stub):
    """A cell without them is measured again, one with them is finished; a run that asks for none is too."""
    assert stub("--methods", "sclip", *TOY) == 0
    assert stub("--methods", "sclip", *TOY, "--labels") == 0
    assert [str(GRID / "sclip/toy/toy/labels") in call for call in stub.calls()] == [False, True]
    assert stub("--methods", "sclip", *TOY, "--labels") == 0
    assert stub("--methods", "sclip", *TOY) == 0
    assert len(stub.calls()) == 2


def test_more_pictures_are_measured_again(stub):
    """A result of as many pictures as were there when it was measured is none of those that are there now."""
    assert stub("--methods", "sclip", *TOY) == 0
    make(Path("data/toy"), count=3, seed=0)
    assert stub("--methods", "sclip", *TOY) == 1  # the stand-in says 2 whatever is there
    assert len(stub.calls()) == 2


def test_failed_cells_are_reported_and_the_rest_goes_on(stub, capsys):
    stub.behave(gem={"fail": "1\n2\n3\n4\nprogress 1/2\rprogress 2/2\nerror: no luck"})
    assert stub("--methods", "clip", "gem", "sclip", *TOY) == 1
    printed = capsys.readouterr().out
    assert "done 2, skipped 0, failed 1" in printed
    report = printed.split("failed: gem/toy/toy\n")[1].splitlines()
    last = ["3", "4", "progress 1/2", "progress 2/2", "error: no luck", "exit status 3"]
    assert [line.strip() for line in report[:6]] == last
    stub.behave()
    assert stub("--methods", "clip", "gem", "sclip", *TOY) == 0
    assert [Path(call[1]).stem for call in stub.calls()] == ["clip", "gem", "sclip", "gem"]


def test_missing_data_fails_those_cells_without_a_process(stub, capsys):
    assert stub("--methods", "clip", "sclip", "--datasets", "voc21", "toy", "--backbones", "toy") == 1
    printed = capsys.readouterr().out
    assert "failed: clip/toy/voc21, sclip/toy/voc21\n" in printed
    assert printed.count("JPEGImages") == 1, "one reason is given once"
    assert len(stub.calls()) == 2


def test_results_stay_finished_without_their_data(stub):
    assert stub("--methods", "sclip", *TOY) == 0
    Path("data/toy").rename("elsewhere")
    assert stub("--methods", "sclip", *TOY) == 0
    assert len(stub.calls()) == 1


def test_labels_mended_since_are_measured_again(stub):
    """A result that states the digest of its data is one of these data only."""
    assert stub("--methods", "sclip", *TOY) == 0
    path = GRID / "sclip/toy/toy/result.json"
    dataset = load_config(ROOT / "configs/sclip.py", "toy", "toy").test_dataloader.dataset.to_dict()
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": {"digest": digest_of(dataset)}}))
    assert stub("--methods", "sclip", *TOY) == 0
    assert len(stub.calls()) == 1
    label = min(Path("data/toy/labels/val").iterdir())
    Image.fromarray(np.array(Image.open(label))[::-1].copy()).save(label)
    assert stub("--methods", "sclip", *TOY) == 0
    assert len(stub.calls()) == 2


def test_stopped_grid_ends_its_children_and_goes_on(stub, capsys):
    stub.behave(sclip={"wait": "never"})
    journal = GRID / "sclip/toy/toy/progress/rank0.jsonl"
    with stop_when(lambda: journal.is_file() and journal.stat().st_size):
        assert stub("--methods", "clip", "sclip", "gem", *TOY) == 130
    assert not (GRID / "sclip/toy/toy/result.json").exists(), "the child was ended, not waited for"
    assert "the same command goes on" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    stub.behave()
    assert stub("--methods", "clip", "sclip", "gem", *TOY) == 0
    calls = stub.calls()
    assert [Path(call[1]).stem for call in calls] == ["clip", "sclip", "sclip", "gem"]
    assert ["--resume" in call for call in calls] == [False, False, True, False]


def test_a_run_that_cannot_be_gone_on_with_says_what_to_do(stub, capsys):
    assert stub("--methods", "sclip", *TOY) == 0
    (GRID / "sclip/toy/toy/result.json").write_text("cut o")
    (GRID / "sclip/toy/toy/progress").mkdir()
    stub.behave(sclip={"fail": "error: other weights"})
    assert stub("--methods", "sclip", *TOY) == 1
    assert "--anew begins from the first picture" in capsys.readouterr().out
    assert stub("--methods", "sclip", *TOY, "--anew") == 1
    assert ["--resume" in call for call in stub.calls()] == [False, True, False]


def test_stopped_run_of_other_options_is_not_gone_on_with(stub):
    assert stub("--methods", "sclip", *TOY) == 0
    (GRID / "sclip/toy/toy/progress").mkdir()
    assert stub("--methods", "sclip", *TOY, "--cfg-options", "model.precision=bf16") == 0
    assert "--resume" not in stub.calls()[1]


def test_each_job_has_a_gpu_of_its_own(stub, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    stub.behave(clip={"wait": "sclip.begun"}, sclip={"wait": "clip.begun"})
    assert stub("--methods", "clip", "sclip", "gem", *TOY) == 0
    calls = {Path(call[1]).stem: call[0] for call in stub.calls()}
    assert {calls["clip"], calls["sclip"]} == {"5", "7"}
    printed = capsys.readouterr().out
    assert printed.index("begins: sclip") < printed.index("done: clip"), "two at a time"
    assert stub("--methods", "clip", *TOY, "--jobs", "3") == 2
    assert "there are 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "sklip", *TOY), "no method 'sklip'; did you mean sclip"),
        (("--datasets", "toyy"), "no dataset 'toyy'; did you mean toy"),
        (("--backbones", "tiy"), "no backbone 'tiy'"),
        (("--methods", "sclip", "--cfg-options", "model.precision"), "takes KEY=VALUE"),
        (("--check", "nowhere.json"), "nowhere.json cannot be read"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(arguments, message, stub, capsys):
    assert stub(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not GRID.exists()


def test_a_limit_does_not_replace_a_whole_result(stub, capsys):
    assert stub("--methods", "sclip", *TOY) == 0
    before = (GRID / "sclip/toy/toy/result.json").read_bytes()
    assert stub("--methods", "sclip", *TOY, "--limit", "1") == 1
    assert "choose another --work-dir" in capsys.readouterr().out
    assert (GRID / "sclip/toy/toy/result.json").read_bytes() == before


@pytest.mark.parametrize("name", [*TABLES, "all"])
def test_every_cell_of_a_table_is_a_config(name):
    options = tool.parse(["--table", name, *TOY])
    requests = plan(options, None)
    assert len(requests) == len({request.cell.key for request in requests})
    for request in requests:
        cell = request.cell
        config = load_config(request.config, cell.dataset, cell.backbone, parse_options(cell.options))
        assert config.axes.method == cell.method
        assert bool(cell.variant) == bool(cell.options)
    if name == "all":
        assert {request.cell.row for request in requests} >= {*choices(ROOT / "configs")["method"]}


def test_main_table_has_a_published_figure_for_each_cell():
    known = {(f.method, f.backbone, f.dataset, f.variant) for f in load()}
    for name in ("sclip-main", "sclip-ablation"):
        cells = [request.cell for request in plan(tool.parse(["--table", name]), None)]
        wanted = {(c.method, c.backbone, c.dataset, c.variant) for c in cells if not c.row.endswith(("_2", "_4", "_8"))}
        lacking = {cell for cell in wanted - known if cell[0] != "maskclip"}
        assert not lacking
    assert len(plan(tool.parse(["--table", "sclip-main"]), None)) == 32


def outcome(miou, cell=None, options=(), **result):
    request = Request(cell or Cell("sclip", "voc21", "openai_vit_b16"), Path("grid"), ROOT / "configs", None, options)
    whole = {"miou": miou, "images": 9, "images_in_dataset": 9, "partial": False}
    return Outcome(request, "done", whole | result)


def test_table_shows_measured_beside_published():
    def figures_of(*cell):
        place = dict(zip(("method", "backbone", "dataset"), cell, strict=True))
        yield Figure(**place, miou=40.0, protocol="other", source="B")
        yield Figure(**place, miou=50.0, protocol="own", source="A", comparable=True)
        yield Figure(**place, miou=1.0, protocol="own", source="C", comparable=True, variant="qq")

    cells = [[part.strip() for part in line.split("|")[4:8]] for line in compare.table([outcome(51.25)], figures_of)
             .splitlines() if line.startswith("| sclip") or line.startswith("|  ")]  # fmt: skip
    assert cells == [["51.25", "50", "+1.25", "own"], ["", "40", "(+11.25)", "other"]]
    assert "(+1.25)" in compare.table([outcome(51.25, options=("model.precision=bf16",))], figures_of)
    partial = compare.table([outcome(51.25, images=3, partial=True)], figures_of)
    assert "51.25 (3 of 9)" in partial
    assert "+1.25" not in partial
    variant = compare.table([outcome(51.25, Cell("sclip", "voc21", "openai_vit_b16", "qq", ("a=b",)))], figures_of)
    assert "+50.25" in variant
    assert "source" not in compare.table([outcome(51.25)], lambda *_: [])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_block_is_drawn_over_itself_on_a_terminal_only():
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        screen = Screen(stream)
        screen.show(["a", "b"])
        screen.say("stays")
        screen.show([])
    assert terminal.getvalue() == "a\nb\n\x1b[2F\x1b[Jstays\na\nb\n\x1b[2F\x1b[J"
    assert file.getvalue() == "stays\n"
    assert [clock(seconds) for seconds in (5, 65.4, 3661)] == ["0:05", "1:05", "1:01:01"]


def test_the_live_table_counts_pictures_and_time(stub, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    stub.behave(sclip={"wait": "seen"})
    line = r"sclip/toy/toy  1 of 2 pictures  \d+:\d\d\n"
    with when(lambda: re.search(line, terminal.getvalue()), Path("seen").touch):
        assert stub("--methods", "clip", "sclip", "gem", *TOY) == 0
    shown = terminal.getvalue()
    assert re.search(line, shown)
    assert re.search(r"done 1, skipped 0, failed 0, running 1, left 1, about \d+:\d\d", shown)
    assert "done 0, skipped 0, failed 0, running 1, left 2\n" in shown, "no estimate before the first cell is done"


def test_cell_json_says_what_a_folder_holds(stub):
    assert stub("--table", "sclip-ablation", *TOY) == 0
    record = json.loads((GRID / "sclip-random_projection_4/toy/toy/cell.json").read_text())
    assert (record["method"], record["variant"], record["limit"]) == ("sclip", "random_projection_4", None)
    assert record["cfg_options"] == [
        "model.backbone.tail.attention.type=random_projection",
        "model.backbone.tail.attention.n=4",
    ]
