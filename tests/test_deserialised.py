"""Every place where something is read that could become more than plain data, or where code is found by a name.

A place that is not in the list fails: say there why what is read cannot run, or read it otherwise.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Calls by the last part of their name. `eval`, `exec`, `compile` only as names of their own: modules have `.eval()`.
CALLS = {
    # pickles, and what holds them
    *(
        "load",
        "loads",
        "Unpickler",
        "_Unpickler",
        "load_file",
        "safe_open",
        "load_checkpoint",
        "load_state_dict_from_url",
    ),
    *("read_pickle", "loadmat", "fromfile", "fromstring", "genfromtxt", "loadtxt", "memmap", "frombuffer"),
    # YAML, XML, archives
    *(
        "safe_load",
        "full_load",
        "unsafe_load",
        "load_all",
        "parse",
        "parseString",
        "iterparse",
        "extractall",
        "unpack_archive",
    ),
    # code by its name
    *(
        "import_module",
        "spec_from_file_location",
        "module_from_spec",
        "exec_module",
        "find_spec",
        "run_path",
        "run_module",
    ),
    *("__import__", "literal_eval", "get_object_from_string", "import_modules_from_strings", "entry_points"),
    # libraries that fetch or load by themselves
    *("from_pretrained", "create_model", "create_model_and_transforms", "get_tokenizer", "init_model", "from_file"),
    *("HFTokenizer", "TimmModel"),
    *("hf_hub_download", "snapshot_download", "download_pretrained", "from_cfg"),
}
BARE = {"eval", "exec", "compile"}
MODULES = {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "runpy", "code", "imp"}
# (file, call) -> how often, and why it cannot run what a stranger wrote.
ALLOWED = {
    # weights
    ("sclip_seg/towers/unpickling.py", "import pickle"): (1, "for the class below"),
    ("sclip_seg/towers/unpickling.py", "pickle._Unpickler"): (
        1,
        "whose find_class never imports: plain data or refusal",
    ),
    ("sclip_seg/towers/torch_file.py", "?.load"): (2, "that Reader"),
    ("sclip_seg/towers/torch_file.py", "reader.load"): (1, "that Reader"),
    ("sclip_seg/towers/torch_file.py", "torch.frombuffer"): (1, "numbers"),
    ("sclip_seg/towers/checkpoint.py", "safe_open"): (1, "safetensors: numbers and a JSON header"),
    ("sclip_seg/towers/checkpoint.py", "json.loads"): (1, "plain data: an index of shards"),
    ("sclip_seg/words/experts.py", "json.loads"): (
        1,
        "plain data: numbers of templates, held against what they may be",
    ),
    ("sclip_seg/towers/snapshot.py", "json.loads"): (1, "plain data: a model's config"),
    ("sclip_seg/towers/snapshot.py", "hf_hub_download"): (2, "a file, which checkpoint reads"),
    ("sclip_seg/towers/weights.py", "download_pretrained"): (1, "a file, which checkpoint reads"),
    ("sclip_seg/towers/weights.py", "open_clip.create_model"): (1, "a stock model without weights"),
    ("sclip_seg/towers/guide_weights.py", "timm.create_model"): (1, "a stock model without weights"),
    ("sclip_seg/picture/refine/sam.py", "SamConfig.from_pretrained"): (1, "JSON"),
    ("sclip_seg/picture/refine/sam.py", "SamModel.from_pretrained"): (
        1,
        "safetensors only, or tensors that checkpoint read",
    ),
    # regions
    ("sclip_seg/regions/pretrained.py", "?.from_pretrained"): (2, "safetensors only; and JSON"),
    ("sclip_seg/regions/published.py", "?.from_pretrained"): (
        1,
        "of a config made there and tensors that checkpoint read",
    ),
    ("sclip_seg/regions/integration.py", "safe_open"): (1, "safetensors: numbers and a JSON header"),
    ("sclip_seg/regions/store.py", "safe_open"): (1, "safetensors: numbers and a JSON header"),
    ("sclip_seg/regions/bank.py", "safe_open"): (1, "safetensors: numbers and a JSON header"),
    ("sclip_seg/regions/head.py", "safe_open"): (1, "safetensors: numbers and a JSON header"),
    # memories, and those who are asked about regions and names
    ("sclip_seg/regions/memory.py", "safe_open"): (1, "safetensors: numbers and a JSON header"),
    ("sclip_seg/regions/memory.py", "find_spec"): (1, "faiss, to see whether it is there"),
    ("sclip_seg/evaluate/remember.py", "json.loads"): (1, "plain data: clicks, held against what they may be"),
    ("sclip_seg/picture/refine/rerank.py", "json.loads"): (1, "plain data: an order, held against what it may be"),
    ("sclip_seg/picture/refine/image_text.py", "AutoModelForImageTextToText.from_pretrained"): (
        1,
        "safetensors and JSON of a folder that the user names; trust_remote_code is off",
    ),
    ("sclip_seg/picture/refine/image_text.py", "AutoProcessor.from_pretrained"): (1, "the same"),
    ("sclip_seg/evaluate/free_words/names.py", "AutoModel.from_pretrained"): (1, "the same"),
    ("sclip_seg/evaluate/free_words/names.py", "AutoTokenizer.from_pretrained"): (1, "the same"),
    # text
    ("sclip_seg/words/text.py", "safe_open"): (1, "safetensors"),
    ("sclip_seg/words/prompts.py", "json.loads"): (1, "plain data: the words of the shipped toy"),
    ("sclip_seg/words/tokenizers.py", "open_clip.get_tokenizer"): (1, "of the model that is loaded: open_clip's BPE"),
    ("sclip_seg/words/tokenizers.py", "HFTokenizer"): (1, "data of Hugging Face's; trust_remote_code is off"),
    ("sclip_seg/picture/refine/fused.py", "tl.load"): (10, "a GPU's memory, in kernels"),
    ("sclip_seg/picture/refine/pamr.py", "find_spec"): (1, "triton, to see whether it is there"),
    ("sclip_seg/picture/refine/pamr.py", "import_module"): (1, "the kernels beside it"),
    ("sclip_seg/words/tokenizers.py", "find_spec"): (1, "transformers, to see whether it is there"),
    ("sclip_seg/towers/kinds.py", "json.loads"): (1, "open_clip's own config, as it stands in memory"),
    ("sclip_seg/towers/kinds.py", "TimmModel"): (1, "a stock model without weights"),
    # configs, which are code, and the user's own
    ("sclip_seg/config.py", "Config.fromfile"): (1, "a config that the user names, as every tool of mmengine's"),
    ("sclip_seg/data/prepare/catalogue.py", "Config.fromfile"): (1, "the configs of the folder that the user works in"),
    ("sclip_seg/toy/train_guide.py", "Config.fromfile"): (1, "the config shipped beside it"),
    ("sclip_seg/evaluate/listing.py", "ast.parse"): (1, "the docstring of a config, which is not run"),
    ("sclip_seg/options.py", "ast.literal_eval"): (1, "numbers, text and lists of an option that the user types"),
    # results, tables, facts
    ("sclip_seg/show/app/guard.py", "json.loads"): (1, "plain data: what the page is sent"),
    ("sclip_seg/data/digest.py", "json.loads"): (1, "plain data: hashes kept beside the data"),
    ("sclip_seg/data/headers.py", "tags.load"): (1, "pillow's reading of TIFF tags: numbers and text"),
    ("sclip_seg/data/pictures.py", "np.frombuffer"): (1, "bytes"),
    ("sclip_seg/data/notes.py", "exif.load"): (1, "pillow's reading of EXIF tags: numbers and text"),
    ("sclip_seg/evaluate/sharing.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/label/run.py", "json.loads"): (1, "plain data: words, and how they were found"),
    ("sclip_seg/evaluate/report/protocol.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/evaluate/report/grid.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/evaluate/report/gather.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/evaluate/grid/cell.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/evaluate/grid/gate.py", "yaml.safe_load"): (1, "plain data"),
    ("sclip_seg/evaluate/published_figures.py", "yaml.safe_load"): (1, "plain data"),
    ("sclip_seg/data/prepare/catalogue.py", "yaml.safe_load"): (1, "plain data"),
    ("sclip_seg/toy/make.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/toy/pool.py", "json.loads"): (2, "plain data"),
    ("sclip_seg/toy/pool.py", "np.load"): (2, "arrays only: allow_pickle is off by default"),
    ("sclip_seg/evaluate/grid/run.py", "request.load"): (1, "a config that the user names"),
    ("sclip_seg/evaluate/grid/groups.py", "request.load"): (1, "a config that the user names"),
    ("sclip_seg/evaluate/evaluation.py", "json.loads"): (1, "command lines, as the user could type them"),
    ("sclip_seg/label/on_ray.py", "json.loads"): (2, "plain data, which the same command has written"),
    ("sclip_seg/students/config.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/students/train.py", "Config.fromfile"): (1, "the resolved config of a folder that the user names"),
    ("sclip_seg/students/train.py", "Runner.from_cfg"): (1, "that config"),
    ("sclip_seg/students/score.py", "Config.fromfile"): (1, "the resolved config of a folder that the user names"),
    ("sclip_seg/students/toy.py", "json.loads"): (1, "plain data"),
    ("sclip_seg/data/prepare/codes.py", "loadmat"): (
        1,
        "scipy's, of MATLAB 5 files: numbers, text and structs of them",
    ),
    ("sclip_seg/data/prepare/context.py", "json.loads"): (1, "plain data: PASCAL Context's segments"),
    ("sclip_seg/data/prepare/codes.py", "json.loads"): (1, "plain data: COCO's segments"),
    ("sclip_seg/data/prepare/verify.py", "image.load"): (1, "pillow's decoding of a picture"),
    # training and parity, of ours and by developers
    ("sclip_seg/measure/sweep.py", "timm.create_model"): (1, "not called: made shallow for the while"),
    ("sclip_seg/toy/train.py", "open_clip.create_model"): (1, "a stock model without weights"),
    ("sclip_seg/toy/train12.py", "open_clip.create_model"): (1, "a stock model without weights"),
    ("sclip_seg/toy/train12.py", "torch.load"): (
        1,
        "weights_only: tensors, numbers and text, of the user's own training",
    ),
    ("sclip_seg/toy/train12.py", "json.loads"): (1, "plain data: its log"),
    ("sclip_seg/toy/train_guide.py", "timm.create_model"): (1, "a stock model without weights"),
    ("sclip_seg/measure/speed.py", "open_clip.get_tokenizer"): (1, "open_clip's BPE"),
    ("sclip_seg/measure/parity/text.py", "open_clip.get_tokenizer"): (2, "open_clip's BPE"),
    ("sclip_seg/measure/parity/reading.py", "np.load"): (1, "arrays only: allow_pickle is off by default"),
    ("sclip_seg/measure/parity/reference.py", "importlib.util.spec_from_file_location"): (
        1,
        "recipe.py of the folder, which the user vouches for",
    ),
    ("sclip_seg/measure/parity/reference.py", "importlib.util.module_from_spec"): (1, "the same"),
    ("sclip_seg/measure/parity/reference.py", "spec.loader.exec_module"): (1, "the same"),
    # modules that are ours or a dependency's, by names that stand in the code
    ("sclip_seg/mmcv_shim.py", "importlib.util.find_spec"): (2, "mmcv._ext, to see whether it is there"),
    ("sclip_seg/mmcv_shim.py", "importlib.import_module"): (1, "mmseg and its kin"),
    ("sclip_seg/mmseg_beside.py", "importlib.util.find_spec"): (1, "mmseg, where it is found anyway"),
    ("sclip_seg/mmseg_beside.py", "spec.loader.exec_module"): (1, "not called: followed by what comes after it"),
    ("sclip_seg/__init__.py", "import_module"): (1, "a shelf of ours, from the list of them"),
    ("sclip_seg/moved.py", "import_module"): (1, "a module of ours by its place"),
    ("sclip_seg_cli.py", "import_module"): (4, "a module of ours, from the table of words or by its name"),
    ("sclip_seg/data/prepare/tables.py", "importlib.util.spec_from_file_location"): (1, "mmseg's converters"),
    ("sclip_seg/data/prepare/tables.py", "importlib.util.module_from_spec"): (1, "mmseg's converters"),
    ("sclip_seg/data/prepare/tables.py", "importlib.util.find_spec"): (1, "where mmseg lies"),
    ("sclip_seg/data/prepare/tables.py", "spec.loader.exec_module"): (1, "mmseg's converters"),
    ("sclip_seg/data/prepare/context.py", "importlib.util.find_spec"): (1, "whether pycocotools is there"),
    ("sclip_seg/measure/speed.py", "importlib.util.spec_from_file_location"): (1, "plain_chain.py of the tests"),
    ("sclip_seg/measure/speed.py", "importlib.util.module_from_spec"): (1, "plain_chain.py of the tests"),
    ("sclip_seg/measure/speed.py", "spec.loader.exec_module"): (1, "plain_chain.py of the tests"),
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of names and attributes; `?` for anything else that they hang on."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def places(source: str) -> Counter:
    """What a file calls, or takes as a base or a value, of these; and which of the modules it imports."""
    found = Counter()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found.update(f"import {name}" for name in names if name.split(".")[0] in MODULES)
            if isinstance(node, ast.ImportFrom) and any(a.asname and a.name in CALLS for a in node.names):
                found["import as"] += 1
        uses = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
        if isinstance(node, ast.Call):  # handed on: partial(torch.load, ...), map(eval, ...)
            uses = [*uses, *node.args, *(keyword.value for keyword in node.keywords)]
        if isinstance(node, ast.Assign | ast.AnnAssign):  # under another name
            uses = [node.value]
        for use in uses:
            name = dotted(use)
            is_call = isinstance(node, ast.Call) and use is node.func
            if (name.split(".")[-1] in CALLS and (is_call or "." in name)) or name in BARE:
                found[name] += 1
            if name.startswith(tuple(f"{module}." for module in MODULES)) and name.split(".")[-1] not in CALLS:
                found[name] += 1
    return found


def is_ours(name: str, source: str) -> bool:
    """A function of that name that the file itself defines or imports from this package is read there."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("sclip_seg")):
            own |= {alias.asname or alias.name for alias in node.names}
    return name.split(".")[0] in own


FILES = [
    ROOT / "sclip_seg_cli.py",
    *sorted(path for folder in ("sclip_seg", "tools") for path in (ROOT / folder).rglob("*.py")),
]


def test_every_place_is_in_the_list():
    found = {}
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        for name, count in places(source).items():
            if not is_ours(name, source):
                found[path.relative_to(ROOT).as_posix(), name] = count
    expected = {place: count for place, (count, _) in ALLOWED.items()}
    assert found == expected


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "from numpy import load as bring\nbring(path)",
        "from torch import load\nload(path)",
        "import torch as t\nt.jit.load(path)",
        "import numpy as np\nnp.load(path)",
        "import pickle",
        "from pickle import loads",
        "import yaml\nyaml.load(text, yaml.Loader)",
        "eval(text)",
        "__import__(name)",
        "import importlib\nimportlib.import_module(name)",
        "from importlib import import_module as find\nread = importlib.import_module",
        "from functools import partial\nread = partial(torch.load, map_location='cpu')",
        "read = torch.load",
        "class Reader(pickle.Unpickler): pass",
        "import joblib",
        "SamModel.from_pretrained(name)",
        "list(map(eval, texts))",
        "ast.literal_eval(text)",
        "numpy.fromfile(path)",
    ],
)
def test_the_list_would_be_too_short(source):
    assert places(source)


@pytest.mark.parametrize("source", ["model.eval()", "re.compile('x')", "from .files import save\nsave(x)", "load"])
def test_what_is_no_such_place(source):
    assert not places(source)
