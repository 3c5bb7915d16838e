"""The work of `sclip-seg toy-words`: scenes whose names are hidden, and three scenes that are remembered."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

from PIL import Image
from prettytable import PrettyTable

from ..evaluate.evaluation import evaluate
from ..evaluate.free_words.run import FreeWords
from ..evaluate.remember_command import main as remember
from ..evaluate.test import parse
from ..files import write_atomically
from .make import evaluation_scene, make
from .world import GROUNDS, THINGS

METHODS = ("sclip", "naclip", "clearclip")
LISTS = ("benchmarks", "imagenet+benchmarks")
OUT, SEED = Path("work_dirs/toy_words"), 0
DATASET = "toy_stuff"
SHOTS, OF_SHOTS = 3, 7  # labelled scenes, and the seed that they are drawn from, which is that of no other
STRANGE = {"kite": "zeppelin"}  # what the captions of the toy CLIP's training called otherwise, or never
WEIGHTS = {"words alone": None, "words and memory": 0.5, "memory alone": 1.0}


def show(data: Path, limit: int) -> None:
    """Both tables, and `summary.json`."""
    make(data, 100, SEED)
    root = ["--cfg-options", f"test_dataloader.dataset.data_root={data}"]
    common = ["--dataset", DATASET, "--backbone", "toy", "--limit", str(limit), *root]
    found = [found_by(method, words, common) for method in METHODS for words in LISTS]
    print(table_of_found(found))
    shots = labelled(OUT / "shots")
    rows = [row for method in METHODS for row in remembered_by(method, shots, common)]
    print(table_of_remembered(rows))
    write_atomically(OUT / "summary.json", json.dumps({"found": found, "remembered": rows}, indent=2) + "\n")
    print(f"written to {OUT / 'summary.json'}")


def found_by(method: str, words: str, common: list[str]) -> dict:
    """What a method finds among a list of words, of all scenes."""
    place = ["--work-dir", str(OUT / method / words.replace("+", "_"))]
    result = FreeWords(parse([method, *common, "--vocabulary", "auto", "--words", words, *place])).measure()
    metrics = {name: row["value"] for name, row in result["metrics"].items()}
    return {"method": method, "list": words, **result["words"], **metrics, "signature": result["signature"]}


def labelled(folder: Path) -> Path:
    """The scenes that are remembered, with their labels."""
    for index in range(SHOTS):
        scene = evaluation_scene(OF_SHOTS, index)
        for part, array in (("pictures", scene.image), ("labels", scene.stuff)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / part / f"{index}.png")
    return folder


def remembered_by(method: str, shots: Path, common: list[str]) -> list[dict]:
    """mIoU over the classes that were shown and over the others, and the IoU of the strange word's."""
    names = [STRANGE.get(name, name) for name in (*THINGS, *GROUNDS)]
    memory = shots / f"{method}.safetensors"
    asked = [str(memory), str(shots / "pictures"), str(shots / "labels"), "--classes", ",".join(names)]
    with redirect_stdout(io.StringIO()):
        remember([*asked, "--method", method, "--backbone", "toy"])
    shown = {name for index in range(SHOTS) for name in _names(index)}
    rows = []
    for kind, weight in WEIGHTS.items():
        beside = [] if weight is None else ["--memory", str(memory), "--memory-weight", str(weight)]
        place = ["--work-dir", str(OUT / method / kind.replace(" ", "_")), f"model.vocabulary={names}"]
        with redirect_stdout(io.StringIO()):
            result = evaluate(parse([method, *beside, *place[:2], *common, place[2]]))
        iou = {name: row["iou"] for name, row in result["per_class"].items() if row["iou"] is not None}
        known = [value for name, value in iou.items() if name in shown and name not in STRANGE]
        others = [value for name, value in iou.items() if name not in shown]
        rows.append(
            {
                **{"method": method, "by": kind, "shown": sum(known) / len(known), "classes": len(known)},
                "not shown": sum(others) / len(others) if others else None,
                "strange": iou.get(next(iter(STRANGE))),
                "signature": result["signature"],
            }
        )
    return rows


def _names(index: int) -> tuple[str, ...]:
    scene = evaluation_scene(OF_SHOTS, index)
    return (*scene.thing_names, *scene.ground_names)


def table_of_found(rows: list[dict]) -> PrettyTable:
    """Words that are there and that are not, and two of the metrics."""
    table = PrettyTable(["method", "words among", "found", "wrong", "of those there", "overlap", "hard"], align="r")
    for r in rows:
        numbers = r["found"], r["wrong"], f"{r['named']}/{r['present']}", f"{r['overlap']:.1f}", f"{r['hard']:.1f}"
        table.add_row([r["method"], r["list"], *numbers])
    return table


def table_of_remembered(rows: list[dict]) -> PrettyTable:
    """IoU in percent; few-shot but for the words alone."""
    strange = "/".join(f"{name} as {word!r}" for name, word in STRANGE.items())
    table = PrettyTable(["method", "by", "classes shown", "classes not shown", strange], align="r")
    for r in rows:
        numbers = (r["shown"], r["not shown"], r["strange"])
        table.add_row([r["method"], r["by"], *("-" if n is None else f"{n:.1f}" for n in numbers)])
    return table
