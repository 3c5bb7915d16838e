"""CLIP Surgery (arXiv 2304.05653): a second path of v-v attention beside the last six blocks, 85 templates.

No evaluation code was released. Read here by ClearCLIP's windows and names, by the plain argmax that the authors speak
of; without a threshold of its own, those of ClearCLIP hold where there is a background. Feature surgery is
`--cfg-options model.backbone.tail.feature_surgery=True`.
"""

_base_ = "clearclip.py"
axes = dict(method="clip_surgery")
# Six blocks of any tower, as released; the toy tower of five is entered at the height that they have in twelve.
tower = 12 if _base_.axes["backbone"].startswith("toy") else None
model = dict(
    templates="imagenet85",
    backbone=dict(
        positions="surgery",
        tail=dict(_delete_=True, type="CLIPSurgery", blocks=6, tower=tower, feature_surgery=False),
    ),
)
del tower
