"""OpenAI CLIP ViT-L/14, fine-tuned at 336 px (arXiv 2103.00020)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-L-14-336", pretrained="openai", quick_gelu=True))
