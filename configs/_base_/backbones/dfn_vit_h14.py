"""DFN ViT-H/14, 5 B pairs (arXiv 2309.17425)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-H-14-quickgelu", pretrained="dfn5b", quick_gelu=True))
