"""OpenCLIP ViT-L/14 on LAION-2B (arXiv 2212.07143); trained with pixel mean and std 0.5."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-L-14", pretrained="laion2b_s32b_b82k"))
