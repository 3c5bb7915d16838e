"""Perception Encoder PE-Core L/14 at 336 px (arXiv 2504.13181); as the B/16."""

model = dict(backbone=dict(type="DenseCLIP", arch="PE-Core-L-14-336", pretrained="meta"))
