"""GLA-CLIP (arXiv 2603.23030): ProxyCLIP's attention over the tokens of all windows of a picture.

The paper's threshold is `--cfg-options model.backbone.tail.rho=0.6`; the released code, followed here, runs 0.55.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="gla_clip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; the names are SCLIP's.
published = dict(
    voc21=dict(background_threshold=0.1),
    voc20=dict(vocabulary="voc20_synonyms"),
    context60=dict(background_threshold=0.1),
    coco_object=dict(background_threshold=0.1),
    cityscapes=dict(short_side=560),
).get(axes["dataset"], {})
guide = dict(type="TimmGuide", arch="vit_base_patch8_224.dino", pretrained="timm")
sharp = dict(rho=0.55, gamma=30.0)
# Things are small beside their grounds there, and the guide's similarities near to 1 or 0.
if axes["backbone"].startswith("toy"):
    guide, sharp = _base_.toy_guide, dict(rho=0.9, gamma=1000.0)

protocol = dict(short_side=336, window=dict(crop=224, stride=112, padding="symmetric", batch=8), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="GLACLIP", guide=guide, rounds=2, beta=0.3, **sharp)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del guide, sharp
