"""What CorrCLIP's official configs say, in the form of `protocols`."""

PUBLISHED = {
    "corrclip": {
        "voc21": (336, 336, 112, 40, 0.2, 0, 46, "voc21_corrclip"),
        "voc20": (336, 336, 112, 40, 0, 0, 20, "voc20_corrclip"),
        "context60": (336, 336, 112, 40, 0.15, 0, 60, "context60_corrclip"),
        "context59": (336, 336, 112, 40, 0, 0, 59, "context59_corrclip"),
        "coco_object": (336, 336, 112, 40, 0.25, 0, 96, "coco_object_corrclip"),
        "coco_stuff164k": (336, 336, 112, 40, 0, 0, 171, "coco_stuff171_corrclip"),
        "cityscapes": (448, 224, 112, 40, 0, 0, 19, "cityscapes_corrclip"),
        "ade20k": (448, 336, 112, 40, 0, 0, 150, "ade20k_corrclip"),
    },
}
PUBLISHED["corrclip_v2"] = PUBLISHED["corrclip"] | {
    "cityscapes": (784, 224, 112, 40, 0, 0, 19, "cityscapes_corrclip2"),
    "context459": (336, 336, 112, 40, 0, 0, 459, "context459_corrclip"),
    "ade847": (448, 336, 112, 40, 0, 0, 847, "ade847"),
}
DINO_B8 = dict(type="TimmGuide", arch="vit_base_patch8_224.dino", pretrained="timm")
RADIO = dict(type="TimmGuide", arch="vit_large_patch16_radio_v3.c_radio", pretrained="timm", positions="gem")
SAM2, VOTE = dict(type="sam2"), dict(type="RegionVote", void="smallest")
METHODS = {
    "corrclip": (
        dict(type="CorrCLIP", guide=DINO_B8, regions=SAM2, sharpness=4.0, merge=0.2, void="smallest"),
        *("imagenet80", [VOTE], "sclip"),
    ),
    "corrclip_v2": (
        dict(type="CorrCLIPv2", guide=RADIO, regions=SAM2, bank=None, neighbours=20, weight=0.5, finer=2),
        *("imagenet80", [VOTE], "sclip"),
    ),
}
