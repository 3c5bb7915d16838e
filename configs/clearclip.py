"""ClearCLIP (arXiv 2407.12442): q-q attention, without residual and FFN."""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="clearclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next. Class names are the plain ones. Cityscapes
# narrows the crop and keeps the default stride, so its windows do not overlap.
published = dict(
    voc21=dict(vocabulary="voc21_plain", background_threshold=0.5),
    voc20=dict(vocabulary="voc20_plain"),
    context60=dict(background_threshold=0.15),
    coco_object=dict(vocabulary="coco_object_plain", background_threshold=0.4),
    cityscapes=dict(window=dict(crop=224, stride=224, padding="symmetric")),
).get(axes["dataset"], {})

protocol = dict(short_side=448, window=dict(crop=448, stride=224, padding="symmetric"), logit_scale=50)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="LastBlock", attention=dict(type="qq"), residual=False, mlp=False)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
