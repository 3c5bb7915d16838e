"""What revises a method's scores before they are stitched, as published; what CASS and RF-CLIP change in it."""

import protocols_zsseg
from protocols import DINO_B16

# γ, α and h.
TEXT_SIDE = {
    "voc21": (0.10, 0.03, 0.10),
    "context60": (0.25, 0.04, 0.09),
    "context59": (0.25, 0.04, 0.09),
    "coco_object": (0.25, 0.01, 0.10),
    "voc20": (0.40, 0.02, 0.10),
    "coco_stuff164k": (0.20, 0.02, 0.02),
    "cityscapes": (0.10, 0.03, 0.14),
    "ade20k": (0.30, 0.05, 0.06),
}


def text_side(dataset, linkage):
    """The stages that both have."""
    gamma, alpha, distance = TEXT_SIDE[dataset]
    of = "window" if dataset == "cityscapes" else "picture"
    adjuster = dict(type="TextAdjuster", alpha=alpha, distance=distance, linkage=linkage, of=of)
    return [adjuster, dict(type="PresenceBlend", gamma=gamma, of=of)]


# What revises the scores before they are stitched, the tower, and the weights that the released code takes.
LPOSS = dict(type="LPOSS", guide=DINO_B16, neighbours=400, power=3.0, sigma=0.01, alpha=0.95, steps=10)
STAGES = {"lposs": [LPOSS], "lposs_plus": [LPOSS], "cass": text_side("voc21", "ward")}
STAGES |= {"rfclip": text_side("voc21", "complete")}
STAGES |= protocols_zsseg.STAGES
TOWERS = dict.fromkeys(("lposs", "lposs_plus"), "laion2b_vit_b16")
TOWERS |= dict.fromkeys(("corrclip", "corrclip_v2"), "metaclip_vit_b16")
TOWERS |= dict.fromkeys(("radseg", "radseg_plus"), "radio_v3_vit_b16")
STAGES |= {method: [dict(type="Probabilities", scale=100)] for method in ("radseg", "radseg_plus")}
