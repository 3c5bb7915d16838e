"""MetaCLIP 2 worldwide ViT-H/14 (arXiv 2507.22062); its words are read by XLM-V's tokenizer (an extra)."""

model = dict(
    backbone=dict(
        type="DenseCLIP", arch="ViT-H-14-worldwide-quickgelu", pretrained="metaclip2_worldwide", quick_gelu=True
    )
)
