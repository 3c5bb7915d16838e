"""OpenCLIP ViT-H/14 on LAION-2B (arXiv 2212.07143)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-H-14", pretrained="laion2b_s32b_b79k"))
