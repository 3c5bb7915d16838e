"""What is loaded when: no library for a help, all of it for a method, and mmseg knows our parts by whatever way."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sclip_seg
import sclip_seg_cli
from sclip_seg import command
from sclip_seg.evaluate import regions_command
from sclip_seg.measure import speed_command
from sclip_seg.regions import provider
from sclip_seg.registry import REGIONS
from sclip_seg.towers.frozen import DTYPES

ROOT = Path(__file__).parents[1]
SLOW = ("torch", "torchvision", "mmseg", "mmcv", "open_clip", "timm", "transformers", "sklearn", "scipy", "matplotlib")
LIMIT = 2.0  # seconds of a processor
MISTAKEN = [
    ["demo", "picture.jpg"],
    ["demo", "picture.jpg", "--classes", "cat", "--method", "sclop"],
    ["test", "sclop"],
    ["test", "sclip", "nacl1p"],
    ["test", "sclip", "--dataset", "voc"],
    ["label", "photos", "--classes", "cat", "--format", "png", "--out", "labels", "--backbone", "vit"],
    ["attention", "cat.jpg", "--points", "1,1", "--methods", "sclop"],
    ["reproduce", "--methods", "sclip", "--datasets", "voc"],
    ["rank-templates", "sclip", "--dataset", "voc", "--pictures", "photos", "--out", "experts.json"],
    ["regions", "voc"],
    ["region-bank", "photos", "--out", "bank.safetensors", "--auxiliary", "vit"],
]


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_help_needs_no_slow_library_and_little_time():
    """Of all words one after the other in one process, which is more than any of them takes."""
    told = fresh(f"""
import sys, time
import sclip_seg, sclip_seg_cli

for word in sclip_seg_cli.WORDS:
    try:
        sclip_seg_cli.main([word, "--help"])
    except SystemExit as ended:
        assert ended.code == 0, word
    loaded = sys.modules.keys() & {set(SLOW)}
    assert not loaded, (word, loaded)
assert sclip_seg_cli.main(["list"]) == 0
for mistaken in {MISTAKEN}:
    try:
        status = sclip_seg_cli.main(mistaken)
    except SystemExit as ended:
        status = ended.code
    assert status == 2, mistaken
assert not sys.modules.keys() & {set(SLOW)}
print(time.process_time())
""")
    assert f"usage: sclip-seg {next(iter(sclip_seg_cli.WORDS))}" in told
    assert " ".join(told.split()).count(" ".join(command.STATUSES.split())) == len(sclip_seg_cli.WORDS)
    assert float(told.split()[-1]) < LIMIT


COMPLETED = {
    "sclip-seg te": ["test"],
    "sclip-seg test nac": ["naclip"],
    "sclip-seg test naclip --data": ["--dataset"],
    "sclip-seg test naclip --dataset vo": ["voc20", "voc21"],
    "sclip-seg demo cat.jpg --backbone openai_vit_l": ["openai_vit_l14", "openai_vit_l14_336"],
    "sclip-seg label photos --format ": ["png", "coco", "yolo", "labelstudio", "npz"],
    "sclip-seg tset nac": [],
}


ASK = """
ask() {
    COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9 COMP_CWORD=1 COMPREPLY=()
    _python_argcomplete sclip-seg
    echo ${COMPREPLY[@]}
}
"""


def test_a_shell_is_told_what_may_follow():
    """By argcomplete's own function of the shell."""
    register = Path(sys.executable).with_name("register-python-argcomplete")
    if not (register.is_file() and shutil.which("bash")):
        pytest.skip("there is no bash, or no argcomplete, here")
    script = [f'eval "$({register} sclip-seg)"', ASK, *(f"ask {shlex.quote(line)}" for line in COMPLETED)]
    path = f"{register.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PATH": path}
    )
    assert [line.split() for line in done.stdout.splitlines()] == [*COMPLETED.values()], done.stderr


def test_the_public_names_are_there_before_they_are_loaded():
    assert {*sclip_seg.__all__} <= {*dir(sclip_seg)}
    for name in sclip_seg.__all__:
        assert getattr(sclip_seg, name) is getattr(sclip_seg, name)
    assert sclip_seg.load.__module__ == sclip_seg.Predictor.__module__ == "sclip_seg.show.predictor"
    assert sclip_seg.methods is sys.modules["sclip_seg.methods"]
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = sclip_seg.lode


def test_custom_imports_are_enough_for_mmengine():
    """As its Runner builds: by the root's registries in mmseg's scope, and nothing of ours is named but the package."""
    fresh("""
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, DATA_SAMPLERS
from mmengine.utils import import_modules_from_strings

import_modules_from_strings(["sclip_seg"])
places = {
    MODELS: ("OpenVocabSegmentor", "DenseCLIP", "EncoderDecoder"),
    DATASETS: ("FolderDataset", "PascalVOC20Dataset", "COCOObjectDataset", "ADE20KDataset"),
    TRANSFORMS: ("LoadPicture", "LoadImageFromFile", "LoadLabels", "CentreCrop", "Relabel", "PackSegInputs"),
    HOOKS: ("Journal", "Progress", "SaveLabels", "DrawPictures", "SegVisualizationHook"),
    METRICS: ("PooledIoU", "IoUMetric"),
    DATA_SAMPLERS: ("Disjoint", "DefaultSampler"),
}
for root, names in places.items():
    with root.switch_scope_and_registry("mmseg") as registry:
        for name in names:
            assert registry.get(name) is not None, name
with TRANSFORMS.switch_scope_and_registry("mmseg") as registry:
    assert registry.get("LoadImageFromFile").__module__ == "sclip_seg.data.loading"
""")


def test_what_the_helps_list_is_what_there_is():
    own = [name for name, kind in REGIONS.module_dict.items() if kind.__module__.startswith("sclip_seg.regions.")]
    assert sorted(own) == [*regions_command.PROVIDERS]
    assert provider.FOLDER == regions_command.FOLDER
    assert [*DTYPES] == [*speed_command.PRECISIONS]
