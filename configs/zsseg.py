"""zsseg (SimSeg, arXiv 2112.14757) without its training: MaskFormer's masks, and CLIP names the crop of each.

Where no mask lies, and for the words of a background, SCLIP's dense scores stand. Others are one option:

    --cfg-options "model.stages.0.regions={'type': 'sam2', '_delete_': True}"       masks of any provider, here SAM 2's
    --cfg-options model.stages.0.reader=patches                    the cheap reader: no crop goes through the tower
    --cfg-options model.stages.0.dense=0.3                         a part of the dense scores within regions as well
    --cfg-options model.stages.0.head=FILE model.stages.0.share=W  a trained segmenter's own embeddings, and its w

MaskFormer's masks are COCO's, so that on COCO's pictures they are in-domain, as the signature says.
"""

_base_ = "sclip.py"
axes = dict(method="zsseg")

# t, as published for the trained system; elsewhere its table's usual value.
threshold = dict(ade20k=0.4, cityscapes=0.3).get(_base_.axes["dataset"], 0.5)
regions = dict(type="maskformer", form="soft")
if _base_.axes["backbone"].startswith("toy"):
    regions = _base_.toy_regions

# τ of both papers; a background's threshold was published for SCLIP's scores, and is none of theirs.
model = dict(
    logit_scale=100,
    background_threshold=0.0,
    min_area=0.0,
    stages=[dict(type="ZSSeg", regions=regions, reader="crops", threshold=threshold, dense=0.0)],
)
del threshold, regions
