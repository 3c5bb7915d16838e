"""SigLIP 2 So400m/14 (arXiv 2502.14786): no class token, attention pooling, pixel mean and std 0.5."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-SO400M-14-SigLIP2", pretrained="webli"))
