"""CLIP (arXiv 2103.00020) read densely, by SCLIP's protocol: the baseline row of its table."""

_base_ = "sclip.py"
axes = dict(method="clip")
model = dict(backbone=dict(tail=dict(attention=dict(type="qk"))))
