"""What is known of weights besides their numbers: activation and pixel statistics, and who says so.

A tag of open_clip's says it, a public file's digest, OpenAI's kind of archive, the JSON of a snapshot. The name of a
file or a folder says nothing. Of a bare file nothing is known, and settings say what it is taken for.
"""

import hashlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

from open_clip import list_pretrained
from open_clip.constants import IMAGENET_MEAN, IMAGENET_STD, OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.pretrained import get_pretrained_cfg

from ..errors import InputError
from . import snapshot

Triple = tuple[float, float, float]
SHIPPED = ("toy", "toy12")  # trained by sclip_seg/toy with QuickGELU and OpenAI's statistics
STATISTICS = {
    "openai": (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
# Who trained with QuickGELU, as open_clip lists it from 3.0 on: beginnings of tags, and tags of one model.
QUICK_GELU = ("openai", "metaclip_400m", "metaclip_fullcc", "dfn2b", "dfn5b", "yfcc15m", "cc12m")
QUICK_GELU_OF = {"ViT-B-32": ("laion400m_e31", "laion400m_e32"), "ViT-H-14-worldwide": ("metaclip2_worldwide",)}
GELU = ("dfn2b_s39b",)


@dataclass(frozen=True)
class Facts:
    """What is known of weights; None is what is not. `source` is who says it."""

    quick_gelu: bool | None
    mean: Triple | None
    std: Triple | None
    source: str


@dataclass(frozen=True)
class Inputs:
    """What a tower computes with: its activation, the pixels' mean and std in [0, 1], and the source of each."""

    quick_gelu: bool
    act_source: str
    mean: Triple
    std: Triple
    pixels_source: str

    @property
    def act(self) -> str:
        """As the signature says it, e.g. `quickgelu(tag)`."""
        return f"{'quickgelu' if self.quick_gelu else 'gelu'}({self.act_source})"

    @property
    def pixels(self) -> str:
        """As the signature says it, e.g. `openai(tag)`; other numbers than the three usual ones are written out."""
        names = (name for name, pair in STATISTICS.items() if _same((*pair[0], *pair[1]), (*self.mean, *self.std)))
        own = "/".join(",".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"{next(names, own)}({self.pixels_source})"


def is_tag(arch: str, name: str | None) -> bool:
    """Whether a name stands for weights that are known: shipped here, or a tag of open_clip's for `arch`."""
    return name in SHIPPED or bool(name and get_pretrained_cfg(arch, name))


def of_name(arch: str, name: str) -> Facts | None:
    """What a tag says, or a repository of the hub that a tag stands for; None of any other name."""
    if name in SHIPPED:
        return Facts(True, *STATISTICS["openai"], "tag")
    if name.startswith(snapshot.HUB):
        repository = name.removeprefix(snapshot.HUB).partition("@")[0]
        tags = (pair for pair in list_pretrained() if _repository(*pair) == repository)
        arch, name = next(tags, ("", ""))
    return _of_tag(arch, name, "tag")


def of_file(path: Path, is_openais: bool) -> Facts | None:
    """What a file itself says: by its SHA-256, by its kind (`is_openais`), or by the JSON of its snapshot."""
    if path.suffix != ".safetensors" and (known := _published(path)):
        return _of_tag(*known, "known file")
    if is_openais:
        return Facts(True, *STATISTICS["openai"], "archive")
    found = snapshot.config_beside(path)
    return None if found is None else of_config(*found)


def of_config(path: Path, content: dict) -> Facts | None:
    """What open_clip_config.json says, or transformers' config.json of a CLIP with the preprocessor's beside it."""
    if path.name == "open_clip_config.json":
        model, pixels = content.get("model_cfg"), content.get("preprocess_cfg", {})
        if not isinstance(model, dict) or not isinstance(pixels, dict):
            raise InputError(f"{path} has no model_cfg")
        quick = model.get("quick_gelu", False)
        statistics = [pixels.get(key) for key in ("mean", "std")]
    elif content.get("model_type") == "clip":
        towers = [content.get(key) or {} for key in ("vision_config", "text_config")]
        acts = {tower.get("hidden_act", "quick_gelu") if isinstance(tower, dict) else None for tower in towers}
        if not acts < {"quick_gelu", "gelu"}:
            raise InputError(
                f"{path} names the activation {' and '.join(sorted(map(str, acts)))}; QuickGELU or GELU is read"
            )
        quick = acts == {"quick_gelu"}
        beside = path.with_name("preprocessor_config.json")
        pixels = snapshot.read_json(beside) if beside.is_file() else {}
        statistics = [pixels.get(key) for key in ("image_mean", "image_std")]
    else:
        return None
    if not isinstance(quick, bool):
        raise InputError(f"{path} says quick_gelu is {quick!r}")
    if None in statistics:
        return Facts(quick, None, None, "config")
    return Facts(
        quick,
        *(triple(values, name, str(path)) for values, name in zip(statistics, ("mean", "std"), strict=True)),
        "config",
    )


def settle(
    arch: str,
    own_quick_gelu: bool,
    name: str | None,
    facts: Facts | None,
    quick_gelu: bool | None,
    mean: Triple | None,
    std: Triple | None,
) -> Inputs:
    """What the tower `arch` computes with, given what is known of the weights `name` and what is set.

    A setting that is None is not set; then `arch` itself says the activation (`own_quick_gelu`), and the pixel
    statistics are OpenAI's where nothing is known.

    Raises:
        InputError: a setting of the wrong kind, or other than what is known of the weights.
    """
    if quick_gelu is not None and not isinstance(quick_gelu, bool):
        raise InputError(f"quick_gelu is {quick_gelu!r}; it is True, False or None")
    given = [None if values is None else triple(values, key) for values, key in ((mean, "mean"), (std, "std"))]
    if (given[0] is None) != (given[1] is None):
        raise InputError("mean and std are set together, or neither")
    quick = own_quick_gelu if quick_gelu is None else quick_gelu
    source = ("arch" if own_quick_gelu else "default") if quick_gelu is None else "set"
    if facts is not None and facts.quick_gelu is not None:
        _refuse_other_activation(arch, name, facts, quick)
        source = facts.source
    statistics, pixels_source = (STATISTICS["openai"], "default") if given[0] is None else (given, "set")
    if facts is not None and facts.mean is not None:
        known = facts.mean, facts.std
        if given[0] is not None and not _same((*given[0], *given[1]), (*known[0], *known[1])):
            raise InputError(
                f"the weights {name!r} were trained with the pixel mean {facts.mean} and std {facts.std} "
                f"(says the {facts.source}), and {given[0]} and {given[1]} are set; leave mean and std out"
            )
        statistics, pixels_source = known, facts.source
    return Inputs(quick, source, tuple(statistics[0]), tuple(statistics[1]), pixels_source)


def tell(inputs: Inputs, path: Path) -> None:
    """One line on weights of which something is not known."""
    if not {inputs.act_source, inputs.pixels_source} & {"set", "default", "arch"}:
        return
    warnings.warn(
        f"{path} does not say how its weights were trained; computed with the activation {inputs.act} and the pixel "
        f"statistics {inputs.pixels}; the settings are model.backbone.quick_gelu, mean and std (a tag knows its own)",
        UserWarning,
        stacklevel=2,
    )


def triple(values: object, name: str, where: str = "") -> Triple:
    """Three finite numbers, positive ones of a std. Raises InputError."""
    good = isinstance(values, list | tuple) and len(values) == 3
    good = good and all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    if not good or (name == "std" and min(values) <= 0):
        what = "three finite numbers" + " above 0" * (name == "std")
        raise InputError(f"{where or 'model.backbone'}: {name} is {values!r:.80}; it is {what}, of pixels in [0, 1]")
    return tuple(float(v) for v in values)


def _of_tag(arch: str, tag: str, source: str) -> Facts | None:
    config = get_pretrained_cfg(arch, tag)
    if not config:
        return None
    quick = config.get("quick_gelu", _by_table(arch, tag))
    return Facts(
        bool(quick),
        tuple(config.get("mean") or OPENAI_DATASET_MEAN),
        tuple(config.get("std") or OPENAI_DATASET_STD),
        source,
    )


def _by_table(arch: str, tag: str) -> bool:
    """open_clip from 3.0 on says it of the tags that it is true of; before, of none."""
    if "quick_gelu" in get_pretrained_cfg("ViT-B-16", "openai"):
        return False
    tag = tag.lower().replace("-", "_")
    if tag in QUICK_GELU_OF.get(arch.removesuffix("-quickgelu"), ()):
        return True
    return tag.startswith(QUICK_GELU) and tag not in GELU


def _refuse_other_activation(arch: str, name: str | None, facts: Facts, quick: bool) -> None:
    if facts.quick_gelu == quick:
        return
    trained, built = ("QuickGELU", "without") if facts.quick_gelu else ("GELU", "with QuickGELU")
    raise InputError(
        f"the weights {name!r} were trained with {trained} (says the {facts.source}), and {arch} was built {built}; "
        f"set model.backbone.quick_gelu={facts.quick_gelu} (with the wrong activation every score is silently lower)"
    )


def _repository(arch: str, tag: str) -> str:
    return (get_pretrained_cfg(arch, tag).get("hf_hub") or "").rpartition("/")[0]


def _published(path: Path) -> tuple[str, str] | None:
    """Model and tag of a file that open_clip's addresses know by its SHA-256, or by the first 8 digits of it."""
    known = {}
    for arch, tag in list_pretrained():
        *_, folder, file = ["", *(get_pretrained_cfg(arch, tag).get("url") or "").split("/")]
        for text in (folder, Path(file).stem.rpartition("-")[2]):
            if len(text) in (8, 64) and set(text) <= set("0123456789abcdef"):
                known.setdefault(text, (arch, tag))
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            total.update(block)
    return known.get(total.hexdigest()) or known.get(total.hexdigest()[:8])


def _same(some: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return all(abs(a - b) < 1e-6 for a, b in zip(some, others, strict=True))
