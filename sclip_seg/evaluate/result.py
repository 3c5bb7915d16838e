"""What a score was measured with: the result file and the one-line signature beside the mIoU."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from mmengine.config import Config
from mmseg.datasets import BaseSegDataset

from ..data.digest import label_rule
from ..picture.segmentor import OpenVocabSegmentor
from ..regions.head import ProposalHead
from ..regions.integration import SemanticIntegration
from ..regions.provider import RegionProvider
from ..towers.guide import Guide
from ..version import __version__
from ..words.experts import Experts
from .relations import Relations

PACKAGES = ("torch", "torchvision", "open_clip_torch", "mmengine", "mmsegmentation", "numpy", "opencv-python")
CODE = ("*.py", "*.txt", "*.json", "*.safetensors")


def signature(config: Config, model: OpenVocabSegmentor, images: int, total: int, data: str = "") -> str:
    """Everything that moves the score, in the manner of sacreBLEU: `key:value|key:value|...`.

    Two runs with one signature on one machine give one score; what only moves speed or memory is left out.
    `data`: the digest of what was scored (`data_digest`).
    """
    return joined(fields_of(config, model, images, total, data))


def joined(fields: dict[str, str]) -> str:
    """The signature's fields in a line."""
    return "|".join(f"{key}:{value}" for key, value in fields.items())


def fields_of(config: Config, model: OpenVocabSegmentor, images: int, total: int, data: str = "") -> dict[str, str]:
    """The signature's fields by name."""
    counted = f"{images}/{total}" if images != total else f"{total}"
    backbone, window, rule = model.backbone, model.window, model.labelling
    size, extra = model.data_preprocessor, model.auxiliary
    settings = config.model.backbone
    crop = f"{window['crop']}/{window['stride']}" if window["crop"] else "whole"
    return {
        "method": config.axes.method,
        "tail": describe(without_places(settings.tail)),
        "backbone": f"{backbone.arch}.{_base_name(backbone.pretrained)}#{backbone.digest}",
        **({} if backbone.words == backbone.arch else {"words": backbone.words}),
        "act": backbone.inputs.act,
        "pixels": backbone.inputs.pixels,
        "positions": backbone.position_rule,
        "data": f"{config.axes.dataset}[{counted}]" + (f"#{data}" if data else ""),
        "vocabulary": f"{model.vocabulary.name}#{model.vocabulary.digest}",
        "auxiliary": f"{extra.name}#{extra.digest}*{extra.weight:g}" if extra else "none",
        "templates": template_name(config.model.get("templates", "imagenet80"), model.templates),
        "size": f"{size.short_side}<{size.long_side}" if size.short_side else "own",
        "window": f"{crop}/{window['padding']}" + (f"/{window['unit']}" if window["unit"] else ""),
        "scale": "none" if rule.logit_scale is None else f"{rule.logit_scale:g}",
        "background": f"{rule.background}<{rule.background_threshold:g}",
        "area": f"{rule.min_area:g}",
        **({"stages": parts(config, "stages")} if config.model.get("stages") else {}),
        "refine": parts(config, "refine"),
        "labels": "+".join(describe(step) for step in own_steps(config)) or "all",
        "guides": "+".join(f"{name}#{digest}" for name, digest in guides(model)) or "none",
        **told_of_regions(model),
        **told_of_metric(config),
        "precision": model.precision,
        "version": __version__,
    }


def settings_of_counts(config: Config, model: OpenVocabSegmentor, dataset: BaseSegDataset) -> dict[str, object]:
    """All that the counts of a picture depend on beside its own two files, by name, as plain data.

    The signature says what the model does, the others what stands around it: where files become arrays, where values
    become classes, and what computes. A journal is believed by whoever has the same.
    """
    own = [sys.modules.get(name) for name in config.get("custom_imports", {}).get("imports", ())]
    return {
        "signature": signature(config, model, 0, 0),
        "normalisation": [list(model.backbone.mean), list(model.backbone.std)],
        "classes": list(dataset.metainfo["classes"]),
        "label rule": label_rule(dataset),
        "pipeline": [describe(step) for step in config.test_dataloader.dataset.pipeline],
        "metric": describe(config.test_evaluator),
        "device": next(model.parameters()).device.type,
        "versions": versions(),
        "code": code_digest(*(module.__file__ for module in own if module and module.__file__)),
    }


def parts(config: Config, kind: str) -> str:
    """The model's stages or steps of refinement, in order."""
    return "+".join(describe(without_places(part)) for part in config.model.get(kind, ())) or "none"


def without_places(part: dict | str) -> dict | str:
    """A part's config without where the files of its second models lie, whose names and digests stand elsewhere."""
    if not isinstance(part, dict):
        return part
    places, plain = ("pretrained", "folder"), dict(part)
    for key in {"guide", "affinity", "regions", "auxiliary", "original", "reranker"} & part.keys():
        if isinstance(part[key], dict):
            plain[key] = {k: v for k, v in without_places(part[key]).items() if k not in places}
    for key in ("checkpoint", "maps", "bank", "memory"):
        if isinstance(part.get(key), str):
            plain[key] = _base_name(part[key])
    if isinstance(part.get("head"), str):
        plain["head"] = ProposalHead.load(part["head"]).told
    if isinstance(part.get("integration"), str):
        plain["integration"] = SemanticIntegration.load(part["integration"]).told
    if isinstance(part.get("experts"), str):
        plain["experts"] = f"{_base_name(part['experts'])}#{Experts.load(part['experts']).digest}"
    return plain


def guides(model: OpenVocabSegmentor) -> list[tuple[str, str]]:
    """Name and weights' digest of each second model, another tower among them."""
    found = [module for module in model.modules() if isinstance(module, Guide)]
    found += [part.second_tower for part in [model.backbone.tail, *model.stages] if part.second_tower is not None]
    return [(f"{guide.arch}.{_base_name(guide.pretrained)}", guide.digest) for guide in found]


def told_of_regions(model: OpenVocabSegmentor) -> dict[str, str]:
    """Who finds regions, trained on what; the bank or memory that they are looked up in; who is asked about them."""
    providers = [module.told for module in model.modules() if isinstance(module, RegionProvider)]
    banks = [getattr(model.backbone.tail, "bank", None), *(getattr(stage, "memory", None) for stage in model.stages)]
    asked = [step.reranker.told for step in model.label_steps if hasattr(step, "reranker")]
    told = {"regions": "+".join(providers), "memory": "+".join(bank.told for bank in banks if bank is not None)}
    told |= {"reranker": "+".join(asked)}
    return {key: text for key, text in told.items() if text}


def told_of_metric(config: Config) -> dict[str, str]:
    """What else than IoU is counted; nothing without."""
    relations = config.test_evaluator.get("relations")
    return {} if relations is None else {"metric": Relations.load(relations).told}


def own_steps(config: Config) -> list[dict]:
    """The pipeline's steps that change what is counted: all but loading and packing."""
    usual = ("LoadImageFromFile", "LoadPicture", "LoadLabels", "PackSegInputs")
    return [step for step in config.test_dataloader.dataset.pipeline if step["type"] not in usual]


def describe(component: dict | str) -> str:
    """`dict(type='A', b=1)` as `A(b=1)`, keys in order."""
    if not isinstance(component, dict):
        return str(component)
    options = [f"{k}={describe(v)}" for k, v in sorted(component.items()) if k != "type"]
    name = str(component.get("type", ""))  # a dict of plain options has none
    return f"{name}({','.join(options)})" if options else name


def template_name(name: str | list[str], templates: tuple[str, ...]) -> str:
    """The name of a template set, or the digest of a list of one's own."""
    return name if isinstance(name, str) else f"own#{short_hash(templates)}"


def _base_name(pretrained: str | None) -> str:
    return Path(pretrained).name if pretrained else "random"


def short_hash(content: object) -> str:
    """Twelve hex digits over anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def config_digest(config: Config) -> str:
    """Of the resolved config, less what says where things are put and what they are called there."""
    apart = ("work_dir", "experiment_name", "launcher", "custom_hooks")
    return short_hash({k: v for k, v in config.to_dict().items() if k not in apart})


@cache
def code_digest(*others: str) -> str:
    """Of everything that computes a score: the package, `others` (paths of files), and the libraries' versions."""
    package = Path(__file__).parents[1]
    files = sorted(
        path for pattern in CODE for path in package.rglob(pattern) if package / "evaluate" / "grid" not in path.parents
    )
    return short_hash([versions(), *(short_hash(path.read_bytes().hex()) for path in [*files, *map(Path, others)])])


def commit() -> str | None:
    """The commit that the package runs from, with `+` when files differ from it; None outside a repository."""
    where = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*where, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*where, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def versions() -> dict[str, str]:
    """Of this package, Python and the libraries that compute."""
    return {"sclip_seg": __version__, "python": platform.python_version()} | {p: _version(p) for p in PACKAGES}


@cache
def _version(package: str) -> str:
    """Of a package, of the release of it that a machine without a screen has, or of the fork that is kept up."""
    for name in (package, f"{package}-headless"):
        with suppress(PackageNotFoundError):
            return version(name)
    return f"onedl {version(f'onedl-{package}')}"


def device_name() -> str:
    """Of what computes: the GPU, or the CPU with its threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    model = re.search(r"model name\s*: (.*)", _cpu_info())
    threads = torch.get_num_threads()
    return f"{model[1] if model else platform.machine()}, {threads} thread{'s' * (threads != 1)}"


def _cpu_info() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
