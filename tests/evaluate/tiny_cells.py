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
CONFIGS = Path(__file__).parents[2] / "configs"


def with_tiny_guides(model: dict) -> dict:
    """A model's config with each guide a tiny one of random weights, its other settings kept; SAM's decoder random."""
    tail = dict(model["backbone"]["tail"])
    for place in {"guide", "affinity"} & tail.keys():
        tail[place] = dict(tail[place]) | TINY_GUIDES[tail[place]["type"]] | dict(pretrained=None)
    model = {**model, "backbone": {**model["backbone"], "tail": tail}}
    if model.get("sam_refine"):
        model["sam_refine"] = {**model["sam_refine"], "checkpoint": None}
    return model


def tiny_guide_options(method: str, checkpoint: str | None = None) -> list[str]:
    """The same as `--cfg-options` for configs/METHOD.py; nothing for a method without guides.

    `checkpoint` is that of the refinement with SAM, of which there is none without.
    """
    model = Config.fromfile(CONFIGS / f"{method}.py").model.to_dict()
    tail = with_tiny_guides(model)["backbone"]["tail"]
    places = sorted({"guide", "affinity"} & tail.keys())
    options = [line for place in places for line in flat(f"model.backbone.tail.{place}", tail[place])]
    if "sam_refine" in model:
        options.append(f"model.sam_refine.checkpoint={checkpoint}" if checkpoint else "model.sam_refine=None")
    return options


def flat(place: str, value: object) -> Iterator[str]:
    """`a.b=1` for every value below a place `a`."""
    if not isinstance(value, dict):
        yield f"{place}={value}".replace(" ", "")
        return
    for key, inner in value.items():
        yield from flat(f"{place}.{key}", inner)
