"""CorrCLIP (arXiv 2411.10086): patches look at each other within regions, and a region has one label.

The paper's rows have one guide and five sources of regions; here they are SAM 2's of 32 points a side ("SAM2_32").
Others are one option, since the vote takes the regions that the method looks at:

    --cfg-options model.backbone.tail.regions=sam2_8              "SAM2_8": eight points a side, one mask each
    --cfg-options model.backbone.tail.regions=mask2former         "Mask2Former", trained on COCO's panoptic masks
    --cfg-options model.backbone.tail.regions=eomt                "EoMT", trained on the same
    --cfg-options "model.backbone.tail.regions={'type': 'files', 'maps': 'FOLDER', '_delete_': True}"     "EntitySeg"

`sclip-seg regions DATASET --provider sam2` finds them ahead. An explicit void, in place of the smallest number, is
`model.backbone.tail.void=explicit model.refine.0.void=explicit`. The paper's weights are MetaCLIP's.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:metaclip_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="corrclip", backbone="{{$SCLIP_BACKBONE:metaclip_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; the names are CorrCLIP's.
published = dict(
    voc21=dict(vocabulary="voc21_corrclip", background_threshold=0.2),
    voc20=dict(vocabulary="voc20_corrclip"),
    context60=dict(vocabulary="context60_corrclip", background_threshold=0.15),
    context59=dict(vocabulary="context59_corrclip"),
    coco_object=dict(vocabulary="coco_object_corrclip", background_threshold=0.25),
    coco_stuff164k=dict(vocabulary="coco_stuff171_corrclip"),
    cityscapes=dict(vocabulary="cityscapes_corrclip", short_side=448, window=dict(crop=224, stride=112)),
    ade20k=dict(vocabulary="ade20k_corrclip", short_side=448),
).get(axes["dataset"], {})
tuned = dict(
    guide=dict(type="TimmGuide", arch="vit_base_patch8_224.dino", pretrained="timm"), regions=dict(type="sam2")
)
if axes["backbone"].startswith("toy"):  # pictures of two hundred pixels, things of eight and more on plain grounds
    tuned = dict(guide=_base_.toy_guide, regions=_base_.toy_regions)

protocol = dict(short_side=336, window=dict(crop=336, stride=112, padding="symmetric", batch=8), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="CorrCLIP", sharpness=4.0, merge=0.2, void="smallest", **tuned)),
    text_cache="work_dirs/text_bank",
    refine=[dict(type="RegionVote", void="smallest")],
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
