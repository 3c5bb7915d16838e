"""SC-CLIP (arXiv 2411.15869): anomaly tokens repaired, attention and aggregation by middle blocks, two passes."""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="scclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")
large = "l14" in axes["backbone"] or "h14" in axes["backbone"]

# What the official configs change from one benchmark to the next; for ViT-L/14, comments of the first release.
published = dict(
    voc21=dict(vocabulary="voc21_bg26", logit_scale=50, background_threshold=0.15, min_area=0.1),
    voc20=dict(vocabulary="voc20_synonyms"),
    context60=dict(background_threshold=0.15),
    coco_object=dict(vocabulary="coco_object_bg26", logit_scale=55, background_threshold=0.35),
    cityscapes=dict(short_side=560),
).get(axes["dataset"], {})
if large:
    published |= dict(
        voc21=dict(logit_scale=40, background_threshold=0.2),
        coco_object=dict(logit_scale=40, background_threshold=0.25),
    ).get(axes["dataset"], {})
# Blocks of ViT-B/16's 12 or of ViT-L/14's 24; a tower of another depth is read at the same relative heights.
tuned = dict(mid=9, post=4, fused=(4, 5, 6, 7, 8, 9, 10), tower=12, class_weight=0.3)
if large:
    tuned = dict(mid=17, post=7, fused=(9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19), tower=24, class_weight=0.1)

protocol = dict(short_side=336, window=dict(crop=224, stride=112), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="SCCLIP", detector="released", **tuned)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del large
