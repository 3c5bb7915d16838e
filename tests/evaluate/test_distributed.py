"""Two processes give the score of one, to the last digit."""

import socket
from pathlib import Path

import numpy as np
from forked import Forked
from PIL import Image
from runs import CONFIGS, FAST, result_of, run
from trees import make_tree

from sclip_seg_cli import launch

# The tiny tower of the fixtures is not known to another process; this one comes with the package.
SHIPPED = [option for option in FAST if not option.startswith("model.backbone.arch=")]
SAME = (
    "miou",
    "foreground_miou",
    "aacc",
    "macc",
    "images",
    "partial",
    "per_class",
    "signature",
    "config_digest",
    "skipped",
)


def test_two_processes_score_as_one(tmp_path, monkeypatch):
    """Two methods that go through the pictures together; a bad file on either rank, passed over, is listed once."""
    methods, bad = ["sclip", "naclip"], (0, 3)
    monkeypatch.chdir(tmp_path)
    make_tree("voc21", tmp_path / "data", count=5)
    for index in bad:
        Path(f"data/VOCdevkit/VOC2012/JPEGImages/2007_{index:06d}.jpg").write_bytes(b"no picture")
    arguments = ["--dataset", "voc21", "--backbone", "toy", "--skip-bad", str(len(bad))]
    for method in methods:
        alone = [*arguments, "--work-dir", f"alone/{method}", "--out", f"alone_maps/{method}"]
        assert run(f"{method}.py", *alone, fast=SHIPPED) == 0
    places = ["--work-dir", "shared", "--out", "shared_maps"]
    shared = [*(str(CONFIGS / f"{method}.py") for method in methods), *arguments, "--launcher", "pytorch", *places]
    printed = launched(2, [*shared, "--cfg-options", *SHIPPED])
    assert printed.count("mIoU") == len(methods)  # one rank speaks
    for method in methods:
        compare(method, bad)


def launched(count, arguments):
    """What `count` processes of `sclip-seg test` print; each is told what torchrun tells."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    told |= {"LOCAL_WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    logs = [Path(f"rank{rank}.log") for rank in range(count)]
    ranks = [
        Forked(lambda: launch("test", arguments), log, told | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank, log in enumerate(logs)
    ]
    statuses, printed = [rank.wait() for rank in ranks], "".join(log.read_text() for log in logs)
    assert statuses == [0] * count, printed
    return printed


def compare(method, bad):
    """The run of one process and that of two."""
    one, two = result_of(Path("alone", method)), result_of(Path("shared", method))
    assert (one["processes"], two["processes"]) == (1, 2)
    for key in SAME:
        assert two[key] == one[key], key
    maps = sorted(path.name for path in Path("alone_maps", method).iterdir())
    assert sorted(path.name for path in Path("shared_maps", method).iterdir()) == maps
    assert len(maps) == 5 - len(bad) == one["images"]
    assert [entry["picture"][-10:] for entry in two["skipped"]] == [f"{index:06d}.jpg" for index in bad]
    assert not Path("shared", method, "progress").exists()
    for name in maps:
        pair = (np.array(Image.open(Path(folder, method, name))) for folder in ("alone_maps", "shared_maps"))
        np.testing.assert_array_equal(*pair)
