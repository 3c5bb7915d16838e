"""CLIPtrase (arXiv 2407.08268) by its own protocol: a square in the middle of each picture is segmented and scored.

Its numbers stand beside no other method's; `cliptrase_windows` is the common protocol. Short side and square are 336
pixels, of 21 x 21 patches; at 224 DBSCAN's eps is 0.7 and its min_samples 3.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="cliptrase", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# Its own class names. The scores of VOC20 are multiplied by the class token's.
published = dict(
    voc21=dict(vocabulary="voc21_cliptrase"),
    voc20=dict(vocabulary="voc20_cliptrase"),
    context60=dict(vocabulary="context60_cliptrase"),
    context59=dict(vocabulary="context59_cliptrase"),
    coco_object=dict(vocabulary="coco_object_cliptrase"),
    coco_stuff164k=dict(vocabulary="coco_stuff171_cliptrase"),
    coco_stuff10k=dict(vocabulary="coco_stuff171_cliptrase"),
    ade20k=dict(vocabulary="ade20k_cliptrase"),
).get(axes["dataset"], {})
tuned = dict(eps=1.1, min_samples=7, image_prior=axes["dataset"] == "voc20")
crop = 336
if axes["backbone"].startswith("toy"):  # 8 x 8 patches
    tuned, crop = dict(eps=0.4, min_samples=3, image_prior=False), 64

# As released: the unlabelled border of VOC counts as background, a square without any thing is left out; COCO-Object
# is made of COCO-Stuff's labels, background being what has no label there, and "banner"; other stuff is ignored.
things = [(value, value + 1) for value in range(80)]
relabel = dict(
    voc21=dict(mapping=[(255, 0)], empty=[0, 255]),
    context60=dict(empty=[0, 255]),
    coco_object=dict(mapping=[*things, (80, 0), *((v, 255) for v in range(81, 171)), (255, 0)], empty=[255]),
).get(axes["dataset"], {})
dataset = _base_.dataset
if axes["dataset"] == "coco_object":
    dataset |= dict(data_root="data/coco_stuff164k", seg_map_suffix="_labelTrainIds.png")

protocol = dict(short_side=crop, logit_scale=100)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="CLIPtrase", **tuned)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published | dict(short_side=crop, window=dict(crop=None))),
)
steps = [dict(type="CentreCrop", size=crop), *([dict(type="Relabel", **relabel)] if relabel else []), _base_.pack]
test_dataloader = dict(dataset=dict(pipeline=[dict(type="LoadPicture"), dict(type="LoadLabels"), *steps], **dataset))
del things, relabel, steps
