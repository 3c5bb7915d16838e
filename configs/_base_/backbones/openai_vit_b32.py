"""OpenAI CLIP ViT-B/32 (arXiv 2103.00020)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-B-32", pretrained="openai", quick_gelu=True))
