"""SFP as released (ICCV 2025; on SC-CLIP, arXiv 2411.15869): outliers by attention, two passes that look differently.

The parts that its paper is named for are not in its code, so its figures are not those of this method.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="sfp", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; for ViT-L/14, comments there.
published = dict(
    voc21=dict(vocabulary="voc21_sfp", logit_scale=50, background_threshold=0.15, min_area=0.1),
    voc20=dict(vocabulary="voc20_sfp"),
    context60=dict(background_threshold=0.15),
    coco_object=dict(vocabulary="coco_object_bg26", logit_scale=55, background_threshold=0.35),
    cityscapes=dict(vocabulary="cityscapes_sfp", short_side=560),
    ade20k=dict(short_side=384),
).get(axes["dataset"], {})
if "l14" in axes["backbone"] or "h14" in axes["backbone"]:
    published |= dict(
        voc21=dict(background_threshold=0.2),
        coco_object=dict(background_threshold=0.25),
    ).get(axes["dataset"], {})
# These blocks of any tower, as released (of ViT-L/14's 24 too); of the toy tower's five, those at the same height.
tuned = dict(mid=9, post=4, fused=(4, 5, 6, 7, 8, 9, 10), tower=12 if axes["backbone"].startswith("toy") else None)
tuned |= dict(class_weight=0.3, factor=1.5)

protocol = dict(short_side=336, window=dict(crop=224, stride=112), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="SFP", detector="attention", **tuned)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
