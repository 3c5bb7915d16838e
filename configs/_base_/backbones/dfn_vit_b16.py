"""DFN ViT-B/16, 2 B pairs (arXiv 2309.17425)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-B-16", pretrained="dfn2b", quick_gelu=True))
