"""DIH-CLIP (ICCV 2025; on SC-CLIP, arXiv 2411.15869): the heads with the least entropy, by SC-CLIP's protocol."""

_base_ = "scclip.py"
axes = dict(method="dih_clip")
# Four of ViT-B/16's twelve heads or of ViT-L/14's sixteen; the toy tower has no more.
model = dict(backbone=dict(tail=dict(_delete_=True, type="DIHCLIP", heads=4, **_base_.tuned)))
