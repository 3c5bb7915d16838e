"""Cells whose second models are tiny and random, in place of DINO and SAM, so that nothing is downloaded."""

from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from tiny_guides import SAM, SAM_TINY, VITS

# What takes a guide's place, by its type. The patch of the first is of 8 pixels, which divides every config's crop.
TINY_GUIDES = {
    "TimmGuide": dict(zip(("arch", "options"), VITS["dino"], strict=True)),
    "SAMGuide": dict(arch=SAM, options=SAM_TINY, side=SAM_TINY["img_size"]),
}
BY_COLOUR = dict(type="felzenszwalb", folder=None)  # of a picture's colours, and not kept
CONFIGS = Path(__file__).parents[2] / "configs"


def with_tiny_guides(model: dict) -> dict:
    """A model's config with each guide a tiny one of random weights, its other settings kept; SAM's decoder random."""
    tail = dict(model["backbone"]["tail"])
    for place in {"guide", "affinity"} & tail.keys():
        tail[place] = dict(tail[place]) | TINY_GUIDES[tail[place]["type"]] | dict(pretrained=None)
    if "regions" in tail:
        tail["regions"] = BY_COLOUR
    parts = {kind: [without_download(part) for part in model[kind]] for kind in ("stages", "refine") if kind in model}
    parts |= {"refine": [part for part in parts["refine"] if not asks_radio(part)]} if "refine" in parts else {}
    return {**model, **parts, "backbone": {**model["backbone"], "tail": tail}}


def asks_radio(part: dict | str) -> bool:
    """Whether a step needs RADIO for its tower, which a tiny one of open_clip's is not."""
    return isinstance(part, dict) and part["type"] == "RADIORefinement"


def without_download(part: dict | str) -> dict | str:
    """A stage or a step with a tiny guide or regions by colour, and SAM's decoder random."""
    if not isinstance(part, dict):
        return part
    if "regions" in part:
        part = {**part, "regions": BY_COLOUR}
    if "guide" not in part:
        return part
    guide = dict(part["guide"]) | TINY_GUIDES[part["guide"]["type"]] | dict(pretrained=None)
    return {**part, "guide": guide, **({"checkpoint": None} if "checkpoint" in part else {})}


def tiny_guide_options(method: str, checkpoint: str | None = None) -> list[str]:
    """The same as `--cfg-options` for configs/METHOD.py; nothing for a method without guides.

    `checkpoint` is that of the refinement with SAM, which is left out without.
    """
    model = Config.fromfile(CONFIGS / f"{method}.py").model.to_dict()
    tiny = with_tiny_guides(model)
    parts = {"model.backbone.tail": tiny["backbone"]["tail"]}
    for kind in ("stages", "refine"):
        several = enumerate(tiny.get(kind, []))
        parts |= {f"model.{kind}.{n}": part for n, part in several if isinstance(part, dict)}
    options = []
    if any(map(asks_radio, model.get("refine", []))):
        options.append(f"model.refine={tiny['refine']}".replace(" ", ""))
        parts = {place: part for place, part in parts.items() if not place.startswith("model.refine")}
    for place, part in parts.items():
        if part["type"] == "SAMRefinement":
            if checkpoint is None:
                return [*options, "model.refine=[]"]
            options.append(f"{place}.checkpoint={checkpoint}")
        if "regions" in part:
            options.append(f"{place}.regions={{'type':'felzenszwalb','folder':None,'_delete_':True}}")
        options += [
            line for key in sorted({"guide", "affinity"} & part.keys()) for line in flat(f"{place}.{key}", part[key])
        ]
    return options


def flat(place: str, value: object) -> Iterator[str]:
    """`a.b=1` for every value below a place `a`."""
    if not isinstance(value, dict):
        yield f"{place}={value}".replace(" ", "")
        return
    for key, inner in value.items():
        yield from flat(f"{place}.{key}", inner)
