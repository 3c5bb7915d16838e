"""ITACLIP (arXiv 2411.12044): middle-block attention, five views, auxiliary texts, PAMR and closing.

The texts are our own words (`sclip_seg/words/auxiliary/`), not the sampled ones of the paper; `--cfg-options
model.auxiliary=None` does without. Benchmarks that it did not run on go by COCO-Stuff's settings without texts.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="itaclip", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; `weight` is α.
published = dict(
    coco_stuff164k=dict(
        vocabulary="coco_stuff171_itaclip",
        short_side=448,
        auxiliary=dict(texts="coco_stuff171_definitions", weight=0.2),
    ),
    coco_object=dict(
        vocabulary="coco_object_itaclip",
        logit_scale=50,
        background_threshold=0.1,
        auxiliary=dict(texts="coco_object_synonyms", weight=0.1),
    ),
    voc21=dict(
        vocabulary="voc21_itaclip",
        logit_scale=60,
        background_threshold=0.1,
        min_area=0.1,
        auxiliary=dict(texts="voc21_definitions", weight=0.05),
    ),
    context60=dict(
        vocabulary="context60_itaclip",
        logit_scale=55,
        background_threshold=0.1,
        auxiliary=dict(texts="context60_definitions", weight=0.15),
    ),
    cityscapes=dict(
        vocabulary="cityscapes_itaclip",
        short_side=560,
        auxiliary=dict(texts="cityscapes_synonyms", weight=0.05),
    ),
).get(axes["dataset"], {})
# γ; the middle blocks are those of ViT-B/16's 12, of other towers those at the same relative heights.
tuned = dict(engineering=0.7 if axes["dataset"] in ("voc21", "cityscapes") else 0.75, blocks=(7, 8, 10), tower=12)

protocol = dict(
    short_side=336,
    window=dict(crop=224, stride=28, batch=4),  # four windows of five views each
    logit_scale=40,
    refine=[dict(type="PAMR", steps=10, dilations=(8, 16)), dict(type="Closing", size=3)],
)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="ITACLIP", **tuned)),
    text_cache="work_dirs/text_bank",
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
