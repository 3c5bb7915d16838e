"""ResCLIP (arXiv 2411.15851) on the NACLIP base: cross-correlation of middle blocks (RCS) and feedback of labels (SFR).

Other bases: `--cfg-options model.backbone.tail.base=clearclip`, or `base=sclip` with `residual=True` and `mlp=True`.
Without RCS or SFR: `model.backbone.tail.rcs=None`, `model.backbone.tail.sfr=None`.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="resclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; VOC is read as whole pictures.
published = dict(
    voc21=dict(vocabulary="voc21_bg26", window=dict(crop=None), background_threshold=0.1),
    voc20=dict(vocabulary="voc20_synonyms", window=dict(crop=None)),
    context60=dict(background_threshold=0.1),
    coco_object=dict(vocabulary="coco_object_bg26", background_threshold=0.1),
    cityscapes=dict(short_side=560),
).get(axes["dataset"], {})
# λ_r; λ_s and τ_s; the first pass's threshold. Elsewhere as on COCO-Stuff 164k.
tuned = dict(
    voc21=dict(rcs=0.3, sfr=0.7, sfr_scale=2.2, threshold=0.5),
    context60=dict(rcs=0.3, sfr=0.7, sfr_scale=1.8, threshold=0.3),
    coco_object=dict(rcs=0.4, sfr=0.7, sfr_scale=1.8, threshold=0.11),
    voc20=dict(rcs=0.6, sfr=0.6, sfr_scale=2.1, threshold=0.1),
    cityscapes=dict(rcs=0.2, sfr=0.6, sfr_scale=2.1, threshold=0.1),
    context59=dict(rcs=0.4, sfr=0.7, sfr_scale=1.8, threshold=0.25),
    ade20k=dict(rcs=0.3, sfr=0.7, sfr_scale=2.1, threshold=0.25),
).get(axes["dataset"], dict(rcs=0.4, sfr=0.7, sfr_scale=1.8, threshold=0.11))
# Blocks 6 to 9 of any tower, as released (of ViT-L/14's 24 too); of the toy tower's five, those at the same height.
blocks = dict(rcs_blocks=(6, 7, 8, 9), tower=12 if axes["backbone"].startswith("toy") else None)

protocol = dict(short_side=336, window=dict(crop=224, stride=112), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="ResCLIP", base="naclip", sigma=5.0, rcs_scale=2.0, **(tuned | blocks))),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del blocks
