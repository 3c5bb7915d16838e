"""Perception Encoder PE-Core B/16 (arXiv 2504.13181): rotary positions, attention pooling, pixel mean and std 0.5."""

model = dict(backbone=dict(type="DenseCLIP", arch="PE-Core-B-16", pretrained="meta"))
