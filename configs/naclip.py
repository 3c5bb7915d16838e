"""NACLIP (arXiv 2404.08181): key-key attention with a Gaussian neighbourhood, reduced block, PAMR."""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="naclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; VOC is read as whole pictures.
published = dict(
    voc21=dict(vocabulary="voc21_bg26", window=dict(crop=None), background_threshold=0.1),
    voc20=dict(vocabulary="voc20_synonyms", window=dict(crop=None)),
    context60=dict(background_threshold=0.1),
    coco_object=dict(vocabulary="coco_object_bg26", background_threshold=0.1),
    cityscapes=dict(short_side=560),
).get(axes["dataset"], {})

protocol = dict(
    short_side=336,
    window=dict(crop=224, stride=112),
    logit_scale=40,
    refine=[dict(type="PAMR", steps=10, dilations=(8, 16))],  # on by default in the official code
)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="LastBlock", attention=dict(type="naclip", sigma=5.0), residual=False, mlp=False)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
