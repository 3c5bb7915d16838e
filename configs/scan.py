"""SCAN (arXiv 2312.04089) on a frozen CLIP: zsseg's crops, in whose background the tower is shown the whole picture.

By Mask2Former's masks, COCO's too. Options as in configs/zsseg.py; `model.stages.0.ratio=0` is zsseg. The authors' own
checkpoint, after `sclip-seg convert-scan FILE --out FOLDER`, w (`share`) being their table's:

    --cfg-options model.stages.0.regions.checkpoint=FOLDER model.stages.0.regions.trained_on=COCO-Stuff
        model.stages.0.head=FOLDER/head.safetensors model.stages.0.integration=FOLDER/integration.safetensors
        "model.stages.0.original={'arch': 'ViT-B-16', 'pretrained': 'FOLDER/original.safetensors'}"
        model.backbone.pretrained=FOLDER/clip.safetensors model.stages.0.share=0.7

on a backbone of their architecture without QuickGELU; on vocabularies such as ADE847 also `model.stages.0.void=True`.
"""

_base_ = "sclip.py"
axes = dict(method="scan")

# t, ρ and the blocks, as published for the trained system by ViT-B and ViT-L; elsewhere the usual values.
large = "l14" in _base_.axes["backbone"]
of_dataset = dict(ade20k=(0.4, 0.05), context59=(0.25, 0.05), voc20=(0.2, 0.1))
if large:
    of_dataset = dict(ade20k=(0.55, 0.05), context59=(0.5, 0.05), voc20=(0.2, 0.1))
threshold, ratio = of_dataset.get(_base_.axes["dataset"], (0.5, 0.05))
blocks = dict(blocks=[1, 3, 5, 7, 9], tower=24) if large else dict(blocks=[1, 3, 5], tower=12)
regions = dict(type="mask2former", form="soft")
if _base_.axes["backbone"].startswith("toy"):
    regions = _base_.toy_regions

model = dict(
    logit_scale=100,
    background_threshold=0.0,
    min_area=0.0,
    stages=[dict(type="SCAN", ratio=ratio, **blocks, regions=regions, threshold=threshold, dense=0.0)],
)
del large, of_dataset, threshold, ratio, blocks, regions
