"""LPOSS (arXiv 2503.19777): MaskCLIP's scores, spread over the graph of all patches of a picture.

The stage goes with any other method: `--cfg-options model.stages=[LPOSS]`. As released, by the tower
of LAION-2B, and the queries of a class are merged before the maps are enlarged to the labels' size.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:laion2b_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="lposs", backbone="{{$SCLIP_BACKBONE:laion2b_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# The names that the official configs ask for; all else is one for all benchmarks.
published = dict(
    voc21=dict(vocabulary="voc21_lposs"),
    voc20=dict(vocabulary="voc20_lposs"),
    context60=dict(vocabulary="context60_lposs"),
    context59=dict(vocabulary="context59_lposs"),
    coco_object=dict(vocabulary="coco_object_lposs"),
    coco_stuff164k=dict(vocabulary="coco_stuff171_cliptrase"),
    coco_stuff10k=dict(vocabulary="coco_stuff171_cliptrase"),
    cityscapes=dict(vocabulary="cityscapes_lposs"),
    ade20k=dict(vocabulary="ade20k_cliptrase"),
).get(axes["dataset"], {})
guide = dict(type="TimmGuide", arch="vit_base_patch16_224.dino", pretrained="timm")
graph = dict(neighbours=400, power=3.0, sigma=0.01)
if axes["backbone"].startswith("toy"):  # pictures a third as large, and a guide whose similarities are near to 1 or 0
    guide, graph = _base_.toy_guide, dict(neighbours=100, power=12.0, sigma=0.03)

protocol = dict(short_side=448, window=dict(crop=224, stride=112))
own = dict(logit_scale=1)  # of propagated labels; a dataset's is of cosines
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="MaskCLIP", residual=True, mlp=True), positions="maskclip"),
    text_cache="work_dirs/text_bank",
    stages=[dict(type="LPOSS", guide=guide, alpha=0.95, steps=10, **graph)],
    refine=["ClassMaximum"],
    **(protocol | _base_.settings | own | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del guide, graph, own
