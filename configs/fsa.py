"""FSA (arXiv 2508.20265) on ProxyCLIP: the likeness of the patches' own predictions, fed back into the last attention.

Other guides as for ProxyCLIP (configs/proxyclip.py), with `model.backbone.tail.sharpness=4.5` for MAE. Over another
attention, which is our reading: `--cfg-options model.backbone.tail.guide=None model.backbone.tail.attention=qq`.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="fsa", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; the names are ProxyCLIP's.
published = dict(
    voc21=dict(vocabulary="voc21_bg26_plain", background_threshold=0.2),
    voc20=dict(vocabulary="voc20_plain"),
    context60=dict(background_threshold=0.14),
    coco_object=dict(vocabulary="coco_object_bg17", background_threshold=0.3),
    cityscapes=dict(short_side=448, window=dict(crop=224, stride=80)),
    ade20k=dict(short_side=448),
).get(axes["dataset"], {})
guide = dict(type="TimmGuide", arch="vit_base_patch8_224.dino", pretrained="timm")
sharpness = 2.3 if axes["backbone"] == "laion2b_vit_h14" else 3.0  # released for all other towers and guides but MAE
if axes["backbone"].startswith("toy"):
    guide = _base_.toy_guide

protocol = dict(short_side=336, window=dict(crop=336, stride=112, padding="symmetric", batch=8), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="FSA", guide=guide, beta=1.2, gamma=3.0, sharpness=sharpness)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del guide, sharpness
