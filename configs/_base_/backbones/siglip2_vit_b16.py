"""SigLIP 2 ViT-B/16 (arXiv 2502.14786): no class token, attention pooling, pixel mean and std 0.5."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-B-16-SigLIP2", pretrained="webli"))
