"""The tiny CLIP of the toy world, shipped with the package and trained by tools/toy_train.py."""

model = dict(backbone=dict(type="DenseCLIP", arch="toy", pretrained="toy", quick_gelu=True))
