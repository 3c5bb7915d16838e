"""ProxyCLIP (arXiv 2408.04883): the similarities of DINO ViT-B/8 patches are CLIP's last attention.

Other guides: `--cfg-options model.backbone.tail.guide.arch=vit_base_patch16_224.dino` (also vit_small_patch16_224.dino,
vit_small_patch8_224.dino); `...arch=vit_base_patch14_reg4_dinov2.lvd142m ...positions=gem`; `...arch=
vit_base_patch16_224.mae ...positions=maskclip`; SAM: `...guide.type=SAMGuide ...arch=samvit_base_patch16.sa1b` and
`...guide.positions` left out. The released padding is `model.window.unit=56`.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="proxyclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; the names are its own.
published = dict(
    voc21=dict(vocabulary="voc21_bg26_plain", background_threshold=0.2),
    voc20=dict(vocabulary="voc20_plain"),
    context60=dict(background_threshold=0.15),
    coco_object=dict(vocabulary="coco_object_bg17", background_threshold=0.25),
    cityscapes=dict(short_side=448, window=dict(crop=224)),
    ade20k=dict(short_side=448),
).get(axes["dataset"], {})
guide = dict(type="TimmGuide", arch="vit_base_patch8_224.dino", pretrained="timm")
if axes["backbone"].startswith("toy"):
    guide = _base_.toy_guide

protocol = dict(short_side=336, window=dict(crop=336, stride=112, padding="symmetric", batch=8), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="ProxyCLIP", guide=guide, beta=1.2, gamma=3.0)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del guide
