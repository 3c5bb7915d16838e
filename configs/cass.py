"""CASS (arXiv 2411.17150): the graphs of DINO ViT-B/8's heads in CLIP's last block, and texts turned to what is seen.

Its text side goes with any other method: `--cfg-options model.stages=[TextAdjuster,PresenceBlend]`; without it:
`model.stages=[]`. Pairs of heads are often a tie: `model.backbone.tail.pairing=identity` does without.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="cass", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next.
published = dict(
    voc21=dict(vocabulary="voc21_bg26", window=dict(crop=None), background_threshold=0.1),
    voc20=dict(vocabulary="voc20_synonyms"),
    context60=dict(background_threshold=0.1),
    coco_object=dict(vocabulary="coco_object_bg26", background_threshold=0.1),
    cityscapes=dict(short_side=560),
).get(axes["dataset"], {})
# γ, α and the distance at which clusters are cut; for what is no benchmark of the paper, VOC's.
gamma, alpha, distance = dict(
    context60=(0.25, 0.04, 0.09),
    context59=(0.25, 0.04, 0.09),
    coco_object=(0.25, 0.01, 0.10),
    voc20=(0.40, 0.02, 0.10),
    coco_stuff10k=(0.20, 0.02, 0.02),
    coco_stuff164k=(0.20, 0.02, 0.02),
    cityscapes=(0.10, 0.03, 0.14),
    ade20k=(0.30, 0.05, 0.06),
).get(axes["dataset"], (0.10, 0.03, 0.10))
of = "window" if axes["dataset"] == "cityscapes" else "picture"
guide = dict(type="TimmGuide", arch="vit_base_patch8_224.dino", pretrained="timm")
if axes["backbone"].startswith("toy"):
    guide = _base_.toy_guide

protocol = dict(short_side=336, window=dict(crop=224, stride=112), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(
        tail=dict(type="CASS", guide=guide, pairing="released", stretch=axes["dataset"] not in ("voc20", "cityscapes"))
    ),
    text_cache="work_dirs/text_bank",
    stages=[
        dict(type="TextAdjuster", alpha=alpha, distance=distance, linkage="ward", of=of),
        dict(type="PresenceBlend", gamma=gamma, of=of),
    ],
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del guide, gamma, alpha, distance, of
