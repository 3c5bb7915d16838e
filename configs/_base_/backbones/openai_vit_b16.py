"""OpenAI CLIP ViT-B/16 (arXiv 2103.00020): the backbone of every published table."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-B-16", pretrained="openai", quick_gelu=True))
