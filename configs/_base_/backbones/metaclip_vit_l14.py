"""MetaCLIP ViT-L/14, 2.5 B pairs (arXiv 2309.16671)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-L-14-quickgelu", pretrained="metaclip_fullcc", quick_gelu=True))
