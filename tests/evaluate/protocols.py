"""What the official configs say, by method and benchmark: the tables that our config files are held against."""

import protocols_corrclip
import protocols_zsseg


def last_block(attention, whole):
    attention = attention if isinstance(attention, dict) else dict(type=attention)
    return dict(type="LastBlock", attention=attention, residual=whole, mlp=whole)


# As in the official configs. Short side, crop, stride, logit scale, background
# threshold, area threshold, queries, vocabulary; a crop of None is the whole picture.
PUBLISHED = {
    "sclip": {
        "voc21": (336, 224, 112, 65, 0.1, 0.1, 56, "voc21_bg26"),
        "voc20": (336, 224, 112, 40, 0, 0, 30, "voc20_synonyms"),
        "context60": (336, 224, 112, 50, 0.1, 0, 60, "context60"),
        "context59": (336, 224, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 224, 112, 50, 0.1, 0, 113, "coco_object_bg26"),
        "coco_stuff164k": (448, 224, 112, 40, 0, 0, 171, "coco_stuff171"),
        "coco_stuff10k": (336, 224, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (560, 224, 112, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (336, 224, 112, 40, 0, 0, 150, "ade20k"),
    },
    "naclip": {
        "voc21": (336, None, None, 40, 0.1, 0, 56, "voc21_bg26"),
        "voc20": (336, None, None, 40, 0, 0, 30, "voc20_synonyms"),
        "context60": (336, 224, 112, 40, 0.1, 0, 60, "context60"),
        "context59": (336, 224, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 224, 112, 40, 0.1, 0, 113, "coco_object_bg26"),
        "coco_stuff164k": (336, 224, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (560, 224, 112, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (336, 224, 112, 40, 0, 0, 150, "ade20k"),
    },
    "clearclip": {
        "voc21": (448, 448, 224, 50, 0.5, 0, 21, "voc21_plain"),
        "voc20": (448, 448, 224, 50, 0, 0, 20, "voc20_plain"),
        "context60": (448, 448, 224, 50, 0.15, 0, 60, "context60"),
        "context59": (448, 448, 224, 50, 0, 0, 59, "context59"),
        "coco_object": (448, 448, 224, 50, 0.4, 0, 81, "coco_object_plain"),
        "coco_stuff164k": (448, 448, 224, 50, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (448, 224, 224, 50, 0, 0, 19, "cityscapes"),
        "ade20k": (448, 448, 224, 50, 0, 0, 150, "ade20k"),
    },
    # Its names are its own list; their number is the same. Its scale moves no label, as there is no threshold.
    "maskclip": {
        "voc20": (512, None, None, 100, 0, 0, 20, "voc20_plain"),
        "context59": (520, None, None, 100, 0, 0, 59, "context59"),
        "coco_stuff164k": (512, None, None, 100, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (512, None, None, 100, 0, 0, 19, "cityscapes"),
    },
    # CLIP Surgery and GEM released no evaluation: they run by ClearCLIP's.
    "resclip": {
        "voc21": (336, None, None, 40, 0.1, 0, 56, "voc21_bg26"),
        "voc20": (336, None, None, 40, 0, 0, 30, "voc20_synonyms"),
        "context60": (336, 224, 112, 40, 0.1, 0, 60, "context60"),
        "context59": (336, 224, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 224, 112, 40, 0.1, 0, 113, "coco_object_bg26"),
        "coco_stuff164k": (336, 224, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (560, 224, 112, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (336, 224, 112, 40, 0, 0, 150, "ade20k"),
    },
    "scclip": {
        "voc21": (336, 224, 112, 50, 0.15, 0.1, 56, "voc21_bg26"),
        "voc20": (336, 224, 112, 40, 0, 0, 30, "voc20_synonyms"),
        "context60": (336, 224, 112, 40, 0.15, 0, 60, "context60"),
        "context59": (336, 224, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 224, 112, 55, 0.35, 0, 113, "coco_object_bg26"),
        "coco_stuff164k": (336, 224, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (560, 224, 112, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (336, 224, 112, 40, 0, 0, 150, "ade20k"),
    },
    "sfp": {
        "voc21": (336, 224, 112, 50, 0.15, 0.1, 56, "voc21_sfp"),
        "voc20": (336, 224, 112, 40, 0, 0, 30, "voc20_sfp"),
        "context60": (336, 224, 112, 40, 0.15, 0, 60, "context60"),
        "context59": (336, 224, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 224, 112, 55, 0.35, 0, 113, "coco_object_bg26"),
        "coco_stuff164k": (336, 224, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (560, 224, 112, 40, 0, 0, 19, "cityscapes_sfp"),
        "ade20k": (384, 224, 112, 40, 0, 0, 150, "ade20k"),
    },
    "cliptrase": {
        "voc21": (336, None, None, 100, 0, 0, 52, "voc21_cliptrase"),
        "voc20": (336, None, None, 100, 0, 0, 20, "voc20_cliptrase"),
        "context60": (336, None, None, 100, 0, 0, 60, "context60_cliptrase"),
        "context59": (336, None, None, 100, 0, 0, 59, "context59_cliptrase"),
        "coco_object": (336, None, None, 100, 0, 0, 187, "coco_object_cliptrase"),
        "coco_stuff164k": (336, None, None, 100, 0, 0, 171, "coco_stuff171_cliptrase"),
        "ade20k": (336, None, None, 100, 0, 0, 150, "ade20k_cliptrase"),
    },
    "itaclip": {
        "voc21": (336, 224, 28, 60, 0.1, 0.1, 80, "voc21_itaclip"),
        "context60": (336, 224, 28, 55, 0.1, 0, 75, "context60_itaclip"),
        "coco_object": (336, 224, 28, 50, 0.1, 0, 119, "coco_object_itaclip"),
        "coco_stuff164k": (448, 224, 28, 40, 0, 0, 183, "coco_stuff171_itaclip"),
        "cityscapes": (560, 224, 28, 40, 0, 0, 26, "cityscapes_itaclip"),
    },
    "proxyclip": {
        "voc21": (336, 336, 112, 40, 0.2, 0, 46, "voc21_bg26_plain"),
        "voc20": (336, 336, 112, 40, 0, 0, 20, "voc20_plain"),
        "context60": (336, 336, 112, 40, 0.15, 0, 60, "context60"),
        "context59": (336, 336, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 336, 112, 40, 0.25, 0, 97, "coco_object_bg17"),
        "coco_stuff164k": (336, 336, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (448, 224, 112, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (448, 336, 112, 40, 0, 0, 150, "ade20k"),
    },
    "fsa": {
        "voc21": (336, 336, 112, 40, 0.2, 0, 46, "voc21_bg26_plain"),
        "voc20": (336, 336, 112, 40, 0, 0, 20, "voc20_plain"),
        "context60": (336, 336, 112, 40, 0.14, 0, 60, "context60"),
        "context59": (336, 336, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 336, 112, 40, 0.3, 0, 97, "coco_object_bg17"),
        "coco_stuff164k": (336, 336, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (448, 224, 80, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (448, 336, 112, 40, 0, 0, 150, "ade20k"),
    },
    "trident": {
        "voc21": (448, 336, 224, 40, 0.2, 0, 46, "voc21_bg26_plain"),
        "voc20": (336, 336, 112, 40, 0, 0, 20, "voc20_plain"),
        "context60": (576, 336, 224, 40, 0.15, 0, 60, "context60"),
        "context59": (576, 336, 224, 40, 0, 0, 59, "context59"),
        "coco_object": (448, 336, 224, 40, 0.25, 0, 97, "coco_object_bg17"),
        "coco_stuff164k": (448, 336, 224, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (688, 336, 224, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (576, 336, 224, 40, 0, 0, 150, "ade20k"),
    },
    "cliper": {
        "voc21": (336, 336, 112, 1, 0, 0, 45, "voc21_cliper"),
        "voc20": (336, None, None, 1, 0, 0, 20, "voc20_cliper"),
        "context60": (336, 224, 112, 1, 0, 0, 60, "context60_cliper"),
        "context59": (336, 224, 112, 1, 0, 0, 59, "context59_cliper"),
        "coco_object": (336, 224, 112, 1, 0, 0, 103, "coco_object_cliper"),
        "coco_stuff164k": (336, None, None, 1, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (560, 560, 560, 1, 0, 0, 19, "cityscapes"),
        "ade20k": (336, None, None, 1, 0, 0, 150, "ade20k"),
    },
    "gla_clip": {
        "voc21": (336, 224, 112, 40, 0.1, 0, 56, "voc21_bg26"),
        "voc20": (336, 224, 112, 40, 0, 0, 30, "voc20_synonyms"),
        "context60": (336, 224, 112, 40, 0.1, 0, 60, "context60"),
        "context59": (336, 224, 112, 40, 0, 0, 59, "context59"),
        "coco_object": (336, 224, 112, 40, 0.1, 0, 113, "coco_object_bg26"),
        "coco_stuff164k": (336, 224, 112, 40, 0, 0, 171, "coco_stuff171"),
        "cityscapes": (560, 224, 112, 40, 0, 0, 19, "cityscapes"),
        "ade20k": (336, 224, 112, 40, 0, 0, 150, "ade20k"),
    },
    "lposs": {
        "voc21": (448, 224, 112, 1, 0, 0, 46, "voc21_lposs"),
        "voc20": (448, 224, 112, 1, 0, 0, 20, "voc20_lposs"),
        "context60": (448, 224, 112, 1, 0, 0, 60, "context60_lposs"),
        "context59": (448, 224, 112, 1, 0, 0, 59, "context59_lposs"),
        "coco_object": (448, 224, 112, 1, 0, 0, 97, "coco_object_lposs"),
        "coco_stuff164k": (448, 224, 112, 1, 0, 0, 171, "coco_stuff171_cliptrase"),
        "cityscapes": (448, 224, 112, 1, 0, 0, 19, "cityscapes_lposs"),
        "ade20k": (448, 224, 112, 1, 0, 0, 150, "ade20k_cliptrase"),
    },
}
PUBLISHED |= protocols_corrclip.PUBLISHED
# At the middle one of three resolutions. There are no scores: what is enlarged are probabilities.
PUBLISHED["radseg"] = PUBLISHED["radseg_plus"] = {
    "voc20": (336, 336, 112, None, 0, 0, 20, "voc20_plain"),
    "context59": (576, 336, 224, None, 0, 0, 59, "context59"),
    "coco_stuff164k": (448, 336, 224, None, 0, 0, 171, "coco_stuff171"),
    "cityscapes": (688, 336, 224, None, 0, 0, 19, "cityscapes"),
    "ade20k": (576, 336, 224, None, 0, 0, 150, "ade20k"),
}
PUBLISHED["pearl"] = PUBLISHED["naclip"]  # its code base
PUBLISHED["cass"] = PUBLISHED["rfclip"] = PUBLISHED["naclip"] | {"voc20": PUBLISHED["sclip"]["voc20"]}
PUBLISHED["clip"] = PUBLISHED["sclip"]  # SCLIP's table has it as a row
# How their windows are padded.
SYMMETRIC = ("clearclip", "clip_surgery", "gem", "proxyclip", "fsa", "gla_clip", "corrclip", "corrclip_v2")
PUBLISHED["clip_surgery"] = PUBLISHED["gem"] = PUBLISHED["clearclip"]
PUBLISHED["lposs_plus"] = PUBLISHED["lposs"]
PUBLISHED["dih_clip"] = PUBLISHED["scclip"]
PUBLISHED["cliptrase_windows"] = {  # SCLIP's windows and names, and no threshold, since labels are voted for
    dataset: (*row[:3], 100, 0, 0, *row[6:]) for dataset, row in PUBLISHED["sclip"].items()
}
PUBLISHED |= protocols_zsseg.published(PUBLISHED["sclip"])
LONG_SIDE = {("maskclip", "context59"): 520, ("maskclip", "cityscapes"): 1024}
LONG_SIDE |= {("radseg", "context59"): 4096, ("radseg_plus", "context59"): 4096}
WITH_BACKGROUND = {"voc21", "context60", "coco_object"}
DINO_B8, DINO_B16 = (
    dict(type="TimmGuide", arch=f"vit_base_patch{patch}_224.dino", pretrained="timm") for patch in (8, 16)
)
SAM_B = dict(type="SAMGuide", arch="samvit_base_patch16.sa1b", pretrained="timm")
PAMR = dict(type="PAMR", steps=10, dilations=(8, 16))
MASKCLIP = dict(type="MaskCLIP", residual=True, mlp=True)
# The tail of each method with its settings on VOC21 (those that differ by benchmark are in TUNED), its templates,
# its refinement and its rule for positions.
METHODS = {
    "clip": (last_block("qk", True), "imagenet80", [], "sclip"),
    "maskclip": (MASKCLIP, "imagenet85", [], "sclip"),
    "sclip": (last_block("csa", True), "imagenet80", [], "sclip"),
    "clearclip": (last_block("qq", False), "imagenet80", [], "sclip"),
    "naclip": (last_block(dict(type="naclip", sigma=5.0), False), "imagenet80", [PAMR], "sclip"),
    "clip_surgery": (dict(type="CLIPSurgery", blocks=6, feature_surgery=False), "imagenet85", [], "surgery"),
    "gem": (dict(type="GEM", blocks=6, iterations=1, temperature=None), "photo", [], "gem"),
    "resclip": (dict(type="ResCLIP", base="naclip", rcs_blocks=(6, 7, 8, 9), rcs_scale=2), "imagenet80", [], "sclip"),
    "scclip": (dict(type="SCCLIP", detector="released", mid=9, post=4), "imagenet80", [], "sclip"),
    "dih_clip": (dict(type="DIHCLIP", heads=4, mid=9, post=4), "imagenet80", [], "sclip"),
    "sfp": (dict(type="SFP", detector="attention", factor=1.5, mid=9, post=4), "imagenet80", [], "sclip"),
    "cliptrase": (dict(type="CLIPtrase", eps=1.1, min_samples=7), "imagenet80", [], "sclip"),
    "cliptrase_windows": (dict(type="CLIPtrase", eps=0.7, min_samples=3), "imagenet80", [], "sclip"),
    "itaclip": (dict(type="ITACLIP", blocks=(7, 8, 10)), "imagenet80", [PAMR, dict(type="Closing", size=3)], "sclip"),
    "proxyclip": (dict(type="ProxyCLIP", guide=DINO_B8, beta=1.2, gamma=3.0), "imagenet80", [], "sclip"),
    "fsa": (dict(type="FSA", guide=DINO_B8, beta=1.2, gamma=3.0, sharpness=3.0), "imagenet80", [], "sclip"),
    "trident": (
        dict(type="Trident", guide=DINO_B16, affinity=SAM_B, beta=1.2, gamma=3.0, cos_fac=1.2),
        *("imagenet80", [], "sclip"),
    ),
    "cliper": (
        dict(type="CLIPer", scale=100, threshold=0.1, selected=-1, beside=[], whole=True),
        "scenes15",
        [dict(type="CLIPerMaps", score_threshold=0.7, threshold=0.6, normalise=True)],
        "surgery",
    ),
    "gla_clip": (
        dict(type="GLACLIP", guide=DINO_B8, rho=0.55, rounds=2, beta=0.3, gamma=30.0),
        *("imagenet80", [], "sclip"),
    ),
    "cass": (dict(type="CASS", guide=DINO_B8, pairing="released"), "imagenet80", [], "sclip"),
    "rfclip": (dict(type="RFCLIP", channels="published", sigma=5.0), "imagenet80", [], "sclip"),
    "pearl": (
        *(last_block(dict(type="pearl", alpha=0.08, steps=5), False), "imagenet80"),
        *([dict(type="LaplacianPropagation", grid=80, steps=25)], "sclip"),
    ),
    "lposs": (MASKCLIP, "imagenet80", ["ClassMaximum"], "maskclip"),
    "lposs_plus": (
        *(MASKCLIP, "imagenet80"),
        *([dict(type="LPOSSPlus", reach=6, tau=0.01, alpha=0.95, steps=10), "ClassMaximum"], "maskclip"),
    ),
}
RADSEG = dict(type="RADSeg", attention=dict(type="scra", sharpness=10.0), aggregation=10.0)
ABSENT = dict(type="Presence", threshold=0.5, of="probabilities", at="pixels")
RADIO_SAM = dict(type="RADIORefinement", checkpoint="facebook/sam-vit-huge", iou_threshold=0.9)
RADIO_SAM |= dict(coarse_threshold=0.2, min_area=225, mask_weight=0.005)
METHODS |= {
    "radseg": (RADSEG, "imagenet80", [ABSENT], "sclip"),
    "radseg_plus": (RADSEG, "imagenet80", [ABSENT, RADIO_SAM], "sclip"),
}
METHODS |= protocols_corrclip.METHODS | protocols_zsseg.methods(METHODS["sclip"])
# What the official configs change in the tail, by method and benchmark.
TUNED = {
    "resclip": {
        "voc21": dict(rcs=0.3, sfr=0.7, sfr_scale=2.2, threshold=0.5),
        "context60": dict(rcs=0.3, sfr=0.7, sfr_scale=1.8, threshold=0.3),
        "coco_object": dict(rcs=0.4, sfr=0.7, sfr_scale=1.8, threshold=0.11),
        "voc20": dict(rcs=0.6, sfr=0.6, sfr_scale=2.1, threshold=0.1),
        "cityscapes": dict(rcs=0.2, sfr=0.6, sfr_scale=2.1, threshold=0.1),
        "context59": dict(rcs=0.4, sfr=0.7, sfr_scale=1.8, threshold=0.25),
        "ade20k": dict(rcs=0.3, sfr=0.7, sfr_scale=2.1, threshold=0.25),
        "coco_stuff164k": dict(rcs=0.4, sfr=0.7, sfr_scale=1.8, threshold=0.11),
    },
    "cliper": {
        "voc21": dict(scale=100, threshold=0.1, selected=-1, beside=[], whole=True),
        "voc20": dict(scale=100, threshold=0.1, selected=-1, whole=False),
        "context60": dict(scale=100, threshold=0.2, selected=-1, beside=[], whole=True),
        "context59": dict(scale=100, threshold=0.2, selected=-1, beside=["background"], whole=True),
        "coco_object": dict(scale=50, threshold=0.2, selected=-1, beside=[], whole=True),
        "coco_stuff164k": dict(scale=50, threshold=0.2, selected=-1, beside=["background"], whole=False),
        "cityscapes": dict(scale=100, threshold=0.35, selected=-1, beside=["background"], whole=False),
        "ade20k": dict(scale=100, threshold=0.2, selected=-1, beside=["background"], whole=False),
    },
    "cass": {
        dataset: dict(pairing="released", stretch=dataset not in ("voc20", "cityscapes"))
        for dataset in PUBLISHED["cass"]
    },
    "cliptrase": {"voc20": dict(image_prior=True), "voc21": dict(image_prior=False)},
    "itaclip": {
        "voc21": dict(engineering=0.7),
        "cityscapes": dict(engineering=0.7),
        "context60": dict(engineering=0.75),
        "coco_object": dict(engineering=0.75),
        "coco_stuff164k": dict(engineering=0.75),
    },
    "pearl": {
        dataset: dict(attention=dict(type="pearl", alpha=0.3 if dataset in ("cityscapes", "ade20k") else 0.08, steps=5))
        for dataset in PUBLISHED["pearl"]
    },
    "trident": {
        **{dataset: dict(cos_fac=1.2) for dataset in PUBLISHED["trident"]},
        "voc20": dict(cos_fac=0.0),
        "cityscapes": dict(cos_fac=3.0, mend_negative=True, halves=True),
        "ade20k": dict(cos_fac=1.2, mend_negative=True),
    },
}
AUXILIARY = {
    "voc21": dict(texts="voc21_definitions", weight=0.05),
    "context60": dict(texts="context60_definitions", weight=0.15),
    "coco_object": dict(texts="coco_object_synonyms", weight=0.1),
    "coco_stuff164k": dict(texts="coco_stuff171_definitions", weight=0.2),
    "cityscapes": dict(texts="cityscapes_synonyms", weight=0.05),
}
# Trident's refinement with SAM: the least probability of what prompts, by benchmark, and the rest.
COARSE = dict(voc21=0.2, voc20=0.2, context60=0.15, context59=0.15, coco_object=0.25)
COARSE |= dict(coco_stuff164k=0.05, cityscapes=0.1, ade20k=0.05)
SAM_REFINE = dict(checkpoint="facebook/sam-vit-base", iou_threshold=0.8, min_area=225)
