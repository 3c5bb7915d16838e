"""CLIPer without Stable Diffusion (arXiv 2411.13836): whole pictures, read at every depth, absent classes dropped.

As released, ViT-B/16 reads windows beside the whole picture on VOC21, Context and COCO-Object, and nothing else does;
without them: `--cfg-options model.window.crop=None model.backbone.tail.whole=False`, and with them elsewhere:
`model.window.crop=224 model.window.stride=112 model.backbone.tail.whole=True` (336 on VOC20). Cityscapes goes by two
squares, each read for itself.
"""

_base_ = [
    "_base_/runtime.py",
    "_base_/backbones/{{$SCLIP_BACKBONE:openai_vit_b16}}.py",
    "_base_/datasets/{{$SCLIP_DATASET:voc21}}.py",
]
axes = dict(method="cliper", backbone="{{$SCLIP_BACKBONE:openai_vit_b16}}", dataset="{{$SCLIP_DATASET:voc21}}")
large = "l14" in axes["backbone"] or "h14" in axes["backbone"]

# What the official configs change from one benchmark to the next.
published = dict(
    voc21=dict(vocabulary="voc21_cliper"),
    voc20=dict(vocabulary="voc20_cliper"),
    context60=dict(vocabulary="context60_cliper"),
    context59=dict(vocabulary="context59_cliper"),
    coco_object=dict(vocabulary="coco_object_cliper"),
    cityscapes=dict(short_side=448 if large else 560),
).get(axes["dataset"], {})
# Factor and threshold of the tail and the reading that it takes, thresholds of classes and of values, templates.
rows = dict(
    voc21=(100, 0.1, -1, 0.7, 0.6, "scenes15"),
    voc20=(100, 0.1, -1, 0.0, 0.001, "scenes15"),
    context60=(100, 0.2, -1, 0.45, 0.45, "scenes15"),
    context59=(100, 0.2, -1, 0.3, 0.3, "scenes15"),
    coco_object=(50, 0.2, -1, 0.3, 0.3, "imagenet80"),
    coco_stuff164k=(50, 0.2, -1, 0.1, 0.1, "scenes15"),
    cityscapes=(100, 0.35, -1, 0.0, 0.0001, "imagenet80"),
    ade20k=(100, 0.2, -1, 0.3, 0.3, "scenes15"),
)
if large:
    rows = dict(
        voc21=(50, 0.1, -2, 0.5, 0.4, "scenes15"),
        voc20=(70, 0.2, -1, 0.1, 0.0001, "scenes15"),
        context60=(50, 0.2, -2, 0.3, 0.3, "imagenet80"),
        context59=(100, 0.2, -2, 0.45, 0.45, "scenes15"),
        coco_object=(50, 0.1, -2, 0.5, 0.5, "imagenet80"),
        coco_stuff164k=(50, 0.2, -2, 0.2, 0.2, "imagenet80"),
        cityscapes=(100, 0.35, -1, 0.0, 0.0001, "scenes15"),
        ade20k=(50, 0.2, -1, 0.2, 0.2, "imagenet80"),
    )
rows["coco_stuff10k"] = rows["coco_stuff164k"]
scale, floor, selected, class_threshold, threshold, templates = rows.get(axes["dataset"], rows["voc21"])
# Words of no class where no class is a background, whose words are such.
voc = [
    *("ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea", "railway"),
    *("railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road", "rock", "street", "valley"),
    *("bridge", "sign"),
]
beside = voc if axes["dataset"] == "voc20" else [] if _base_.settings.get("background") == 0 else ["background"]
crops = {} if large else dict(voc21=336, context60=224, context59=224, coco_object=224)
crop, stride = crops.get(axes["dataset"]), 112
whole = crop is not None
if axes["dataset"] == "cityscapes":
    crop = stride = published["short_side"]
if axes["backbone"].startswith("toy"):  # trained on pictures of 64 pixels: in larger ones it sees nothing
    crop, stride = 64, 32
window = dict(crop=crop, stride=stride, batch=4)

protocol = dict(short_side=336, templates=templates)
own = dict(logit_scale=1, window=window)  # a dataset's scale is of cosines
model = dict(
    type="OpenVocabSegmentor",
    backbone=dict(
        tail=dict(type="CLIPer", scale=scale, threshold=floor, selected=selected, beside=beside, whole=whole),
        positions="surgery",
    ),
    text_cache="work_dirs/text_bank",
    refine=[
        dict(
            type="CLIPerMaps",
            score_threshold=class_threshold,
            threshold=threshold,
            normalise=axes["dataset"] in ("voc21", "toy"),
        )
    ],
    **(protocol | _base_.settings | published | own),
)
test_dataloader = dict(dataset=_base_.dataset)
del (
    large,
    rows,
    scale,
    floor,
    selected,
    class_threshold,
    threshold,
    templates,
    voc,
    beside,
    crops,
    crop,
    stride,
    whole,
    own,
    window,
)
