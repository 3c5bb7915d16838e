"""RADSeg+ (arXiv 2511.19704): RADSeg, its labels redrawn along SAM's masks with RADIO in the place of SAM's encoder.

Needs a backbone of RADIO's with an adaptor of SAM's; of SAM ViT-H the neck and the decoders. Resolutions as of RADSeg.
On the toy, which has neither, it is RADSeg as configured there.
"""

_base_ = ["radseg.py"]
axes = dict(method="radseg_plus")
# The least probability of what prompts; of benchmarks that are not published, VOC20's.
coarse = dict(context59=0.15, coco_stuff164k=0.05, cityscapes=0.1, ade20k=0.05).get(_base_.axes["dataset"], 0.2)
sam = dict(checkpoint="facebook/sam-vit-huge", iou_threshold=0.9, coarse_threshold=coarse, min_area=225)
refine = [dict(type="Presence", threshold=0.5, of="probabilities", at="pixels")]
if not _base_.axes["backbone"].startswith("toy"):
    refine.append(dict(type="RADIORefinement", mask_weight=0.005, **sam))
model = dict(refine=refine)
del coarse, sam, refine
