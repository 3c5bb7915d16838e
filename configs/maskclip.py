"""MaskCLIP (arXiv 2112.01071): identity attention in the last block, residual and FFN kept.

The reading of later papers is `--cfg-options model.backbone.tail.residual=False model.backbone.tail.mlp=False`;
the paper's refinements are `model.backbone.tail.smooth_keys=released` and `model.backbone.tail.denoise_prompts=0.5`.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="maskclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next. They read whole pictures and know VOC20,
# Context59, COCO-Stuff and Cityscapes; their own class names are not among our vocabularies
# (docs/measurements/figures.md).
published = dict(
    voc20=dict(vocabulary="voc20_plain"),
    context59=dict(short_side=520, long_side=520),
    cityscapes=dict(short_side=512, long_side=1024),
).get(axes["dataset"], {})

protocol = dict(short_side=512, window=dict(crop=None), logit_scale=100, templates="imagenet85")
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="MaskCLIP", residual=True, mlp=True)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
