"""DFN ViT-L/14, 2 B pairs (arXiv 2309.17425)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-L-14-quickgelu", pretrained="dfn2b", quick_gelu=True))
