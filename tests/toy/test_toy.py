"""The toy world with its shipped weights: what the papers report shows in really learned weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_world import PICTURES, QUIET, world  # noqa: F401
from PIL import Image
from runs import result_of, tool

from sclip_seg.config import choices
from sclip_seg.evaluate.grid import gate
from sclip_seg.evaluate.grid.cell import Request
from sclip_seg.evaluate.grid.run import Outcome
from sclip_seg.toy.world import GROUNDS, THINGS, draw

ROOT = Path(__file__).parents[2]
METHODS = choices(ROOT / "configs")["method"]


@pytest.fixture(scope="module")
def evaluate(world):  # noqa: F811
    """`evaluate(method, dataset, *options)`: the result, its label maps under `labels`; each cell once.

    All methods on the first dataset go through its pictures together.
    """
    done = {}

    def line(method, dataset="toy", *options):
        place = "-".join((method, dataset, *options)).replace("=", "-")
        arguments = [str(ROOT / "configs" / f"{method}.py"), "--dataset", dataset, "--backbone", "toy"]
        arguments += ["--work-dir", place, "--out", str(Path(place, "labels"))]
        return world / place, [*arguments, "--cfg-options", *QUIET, *options]

    def measure(cells):
        lines = {cell: line(*cell) for cell in cells}
        (world / "cells.json").write_text(json.dumps([arguments for _, arguments in lines.values()]))
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(world)
            assert tool.main(["--cells", "cells.json"]) == 0
        done.update({cell: result_of(place) | {"labels": place / "labels"} for cell, (place, _) in lines.items()})

    def run(method, dataset="toy", *options):
        if (method, dataset, *options) not in done:
            measure([(method, dataset, *options)])
        return done[(method, dataset, *options)]

    measure([(method, "toy") for method in METHODS])
    return run


@pytest.mark.parametrize("dataset", ["toy", "toy_stuff"])
@pytest.mark.parametrize("measure", ["miou", "foreground_miou"])
def test_sclip_is_half_again_as_good_as_clip(evaluate, dataset, measure):
    assert evaluate("sclip", dataset)[measure] >= 1.5 * evaluate("clip", dataset)[measure]


@pytest.mark.parametrize("method", sorted({*METHODS} - {"clip", "cliptrase"}))
def test_every_method_gains_on_clip(evaluate, method):
    assert evaluate(method)["foreground_miou"] > evaluate("clip")["foreground_miou"]


def test_no_method_drifts(evaluate):
    """The regression gate on the quick grid: what each method scores here against what is stored of it."""
    expected = gate.load(ROOT / "tests" / "expectations" / "toy.json")
    assert expected.limit == PICTURES
    assert {cell.method for cell in expected.cells} == {*METHODS}
    found = [Outcome(Request(cell, Path(), Path()), "done", evaluate(cell.method)) for cell in expected.cells]
    assert expected.drifts(found) == []


def test_cliptrase_by_its_own_protocol(evaluate):
    """A square of each picture, which the signature says, so that the number stands beside no other."""
    result = evaluate("cliptrase")
    assert "labels:CentreCrop(size=64)" in result["signature"]
    assert "labels:all" in evaluate("cliptrase_windows")["signature"]
    assert {Image.open(path).size for path in result["labels"].glob("*.png")} == {(64, 64)}


def test_bf16_gives_the_labels_of_fp32(evaluate):
    exact, half = evaluate("sclip"), evaluate("sclip", "toy", "model.precision=bf16")
    assert half["precision"] == "bf16"
    assert "precision:bf16" in half["signature"]
    equal = [
        np.asarray(Image.open(path)) == np.asarray(Image.open(half["labels"] / path.name))
        for path in sorted(exact["labels"].glob("*.png"))
    ]
    assert np.concatenate([e.ravel() for e in equal]).mean() >= 0.99
    assert abs(half["miou"] - exact["miou"]) <= 0.3


def test_a_scene_is_the_same_whenever_it_is_drawn():
    first, again = draw(3, 7, 80, 96), draw(3, 7, 80, 96)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, draw(3, 8, 80, 96).image)
    assert not np.array_equal(first.image, draw(3, 7, 80, 96, split="train").image)


def test_the_two_label_maps_of_a_scene_agree():
    scene = draw(0, 1, 96, 120, count=(4, 6))
    thing = scene.things > 0
    assert thing.any()
    assert np.array_equal(scene.stuff[thing], scene.things[thing] - 1)
    assert scene.stuff[~thing].min() >= len(THINGS)
    assert scene.stuff.max() < len(THINGS) + len(GROUNDS)
