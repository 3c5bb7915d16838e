"""CorrCLIPv2 (in the repository of arXiv 2411.10086): RADIO sees the whole picture; no merging; a bank of regions.

Without `model.backbone.tail.bank=FILE` it is the README's row without one. A bank is made by `sclip-seg region-bank`;
one with auxiliary values needs their tower: `model.backbone.tail.auxiliary={'type': 'DenseCLIP', 'arch':
'ViT-B-16-quickgelu', 'pretrained': 'dfn2b', 'quick_gelu': True}`. Sources of regions as in configs/corrclip.py.
"""

_base_ = "corrclip.py"
axes = dict(method="corrclip_v2")

tail = dict(type="CorrCLIPv2", bank=None, neighbours=20, weight=0.5, finer=2, void="smallest", **_base_.tuned)
if not _base_.axes["backbone"].startswith("toy"):
    tail["guide"] = dict(
        type="TimmGuide", arch="vit_large_patch16_radio_v3.c_radio", pretrained="timm", positions="gem"
    )
own = {
    "cityscapes": dict(vocabulary="cityscapes_corrclip2", short_side=784),
    "context459": dict(vocabulary="context459_corrclip"),
    "ade847": dict(short_side=448),
}.get(_base_.axes["dataset"], {})
model = dict(backbone=dict(tail=dict(_delete_=True, **tail)), **own)
del tail, own
