"""DataComp-1B ViT-L/14 (arXiv 2304.14108)."""

model = dict(backbone=dict(type="DenseCLIP", arch="ViT-L-14", pretrained="datacomp_xl_s13b_b90k"))
