"""The toy CLIP of twelve blocks, trained on the rich world by `sclip-seg toy-train --tower toy12`, and the toy guide.

It is as deep as ViT-B/16: what methods say of blocks 6 to 9 means those of this tower.
"""

_base_ = "toy.py"
model = dict(backbone=dict(arch="toy12", pretrained="toy12"))
