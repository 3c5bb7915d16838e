"""PEARL (arXiv 2603.21528): keys turned onto the queries in the last block, scores smoothed along the picture's edges.

The refinement goes with any other method: `--cfg-options model.refine=[LaplacianPropagation]`; without it:
`model.refine=[]`.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="pearl", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")

# What the official configs change from one benchmark to the next; VOC is read as whole pictures.
published = dict(
    voc21=dict(vocabulary="voc21_bg26", window=dict(crop=None), background_threshold=0.1),
    voc20=dict(vocabulary="voc20_synonyms", window=dict(crop=None)),
    context60=dict(background_threshold=0.1),
    coco_object=dict(vocabulary="coco_object_bg26", background_threshold=0.1),
    cityscapes=dict(short_side=560),
).get(axes["dataset"], {})
alpha = dict(cityscapes=0.3, ade20k=0.3).get(axes["dataset"], 0.08)
grid = dict(cityscapes=224).get(axes["dataset"], 80)

protocol = dict(short_side=336, window=dict(crop=224, stride=112), logit_scale=40)
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(
        tail=dict(type="LastBlock", attention=dict(type="pearl", alpha=alpha, steps=5), residual=False, mlp=False)
    ),
    text_cache="work_dirs/text_bank",
    refine=[dict(type="LaplacianPropagation", grid=grid, steps=25)],
    **(protocol | _base_.settings | published),
)
test_dataloader = dict(dataset=_base_.dataset)
del alpha, grid
