"""OpenCLIP ViT-B/16 on LAION-2B (arXiv 2212.07143)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-B-16", pretrained="laion2b_s34b_b88k"))
