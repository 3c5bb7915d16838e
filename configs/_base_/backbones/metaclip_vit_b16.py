"""MetaCLIP ViT-B/16, 2.5 B pairs (arXiv 2309.16671)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-B-16-quickgelu", pretrained="metaclip_fullcc", quick_gelu=True))
