"""SCLIP (arXiv 2312.01597): correlative self-attention in the last block."""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="sclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next.
published = dict(
    voc21=dict(vocabulary="voc21_bg26", logit_scale=65, background_threshold=0.1, min_area=0.1),
    voc20=dict(vocabulary="voc20_synonyms"),
    context60=dict(logit_scale=50, background_threshold=0.1),
    coco_object=dict(vocabulary="coco_object_bg26", logit_scale=50, background_threshold=0.1),
    coco_stuff164k=dict(short_side=448),
    cityscapes=dict(short_side=560),
).get(axes["dataset"], {})

protocol = dict(short_side=336, window=dict(crop=224, stride=112), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="LastBlock", attention=dict(type="csa"), residual=True, mlp=True)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
