"""RADSeg (arXiv 2511.19704): RADIO's features mixed by their own likeness, in windows and across them.

Published at three resolutions without saying which one the reported mean is of; 'mid' is what runs here. The others by
`--cfg-options`, e.g. low: `model.short_side=336 model.window.crop=224 model.window.stride=112` (560 on Cityscapes), and
high on ADE20K: `model.short_side=672 model.long_side=2016 model.window.crop=336 model.window.stride=224`; all of them
stand in `published` below. On another tower than RADIO, as on the toy's, it is no paper's method.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:radio_v3_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc20}}.py",
]
axes = dict(method="radseg", backbone="{{$SCLIP_BACKBONE:radio_v3_vit_b16}}", dataset="{{$SCLIP_DATASET:voc20}}")

names = dict(voc20=dict(vocabulary="voc20_plain")).get(axes["dataset"], {})  # one a class everywhere
small, large = dict(crop=224, stride=112), dict(crop=336, stride=224)
# What the official configs change from one benchmark to the next; the benchmarks with a background are not published.
published = dict(
    voc20=dict(
        low=dict(short_side=336, window=small),
        mid=dict(short_side=336, window=dict(crop=336, stride=112)),
        high=dict(short_side=672, long_side=2016, window=large),
    ),
    context59=dict(
        low=dict(short_side=336, window=small),
        mid=dict(short_side=576, long_side=4096, window=large),
        high=dict(short_side=672, long_side=2016, window=large),
    ),
    coco_stuff164k=dict(
        low=dict(short_side=336, window=small),
        mid=dict(short_side=448, window=large),
        high=dict(short_side=896, long_side=1334, window=large),
    ),
    cityscapes=dict(
        low=dict(short_side=560, window=small),
        mid=dict(short_side=688, window=large),
        high=dict(short_side=1344, long_side=2688, window=large),
    ),
    ade20k=dict(
        low=dict(short_side=336, window=small),
        mid=dict(short_side=576, window=large),
        high=dict(short_side=672, long_side=2016, window=large),
    ),
).get(axes["dataset"], {})

protocol = dict(short_side=448, window=large)
own = dict(logit_scale=None)  # of probabilities; a dataset's is of cosines
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(tail=dict(type="RADSeg", attention=dict(type="scra", sharpness=10.0), aggregation=10.0)),
    text_cache="work_dirs/text_bank",
    stages=[dict(type="Probabilities", scale=100)],
    refine=[dict(type="Presence", threshold=0.5, of="probabilities", at="pixels")],
    **(protocol | _base_.settings | own | names | published.get("mid", {})),
)
test_dataloader = dict(dataset=_base_.dataset)
del names, small, large, own
