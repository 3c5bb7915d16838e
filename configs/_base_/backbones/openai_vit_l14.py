"""OpenAI CLIP ViT-L/14 (arXiv 2103.00020)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-L-14", pretrained="openai", quick_gelu=True))
