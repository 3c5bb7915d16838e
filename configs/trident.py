"""Trident (arXiv 2411.09219): DINO joins patches within windows, SAM across them, and SAM refines the labels.

Windows of 336 pixels are joined patch by patch, so patches of 16 and 14 pixels fit. Without the refinement:
`--cfg-options model.refine=[]`. Other sizes of SAM: `samvit_large_patch16.sa1b` for `model.backbone.tail.affinity.arch`
and `model.refine.0.guide.arch`, with `model.refine.0.checkpoint=facebook/sam-vit-large`.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="trident", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; the names are ProxyCLIP's.
published = dict(
    voc21=dict(vocabulary="voc21_bg26_plain", background_threshold=0.2),
    voc20=dict(vocabulary="voc20_plain", short_side=336, window=dict(crop=336, stride=112)),
    context60=dict(short_side=576, background_threshold=0.15),
    context59=dict(short_side=576),
    coco_object=dict(vocabulary="coco_object_bg17", background_threshold=0.25),
    cityscapes=dict(short_side=688),
    ade20k=dict(short_side=576),
).get(axes["dataset"], {})
# κ; `mend_negative=True` is the released `refine_neg_cos=False`; the halves are the released special case.
tuned = dict(
    voc20=dict(cos_fac=0.0),
    cityscapes=dict(cos_fac=3.0, mend_negative=True, halves=True),
    ade20k=dict(mend_negative=True),
).get(axes["dataset"], {})
coarse = dict(
    context60=0.15,
    context59=0.15,
    coco_object=0.25,
    coco_stuff164k=0.05,
    coco_stuff10k=0.05,
    cityscapes=0.1,
    ade20k=0.05,
).get(axes["dataset"], 0.2)

guide = dict(type="TimmGuide", arch="vit_base_patch16_224.dino", pretrained="timm")
affinity = dict(type="SAMGuide", arch="samvit_base_patch16.sa1b", pretrained="timm")
sam = dict(checkpoint="facebook/sam-vit-base", iou_threshold=0.8, coarse_threshold=coarse, min_area=225)
refine = [dict(type="SAMRefinement", guide=affinity, **sam)]
if axes["backbone"].startswith("toy"):  # one guide for both, and no SAM to refine with
    guide = affinity = _base_.toy_guide
    refine = []

protocol = dict(short_side=448, window=dict(crop=336, stride=224, batch=8), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(
        tail=dict(type="Trident", guide=guide, affinity=affinity, **(dict(beta=1.2, gamma=3.0, cos_fac=1.2) | tuned))
    ),
    text_cache="work_dirs/text_bank",
    refine=refine,
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del coarse, guide, affinity, sam, refine
