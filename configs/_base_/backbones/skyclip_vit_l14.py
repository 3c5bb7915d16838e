"""SkyCLIP ViT-L/14, remote sensing (SkyScript, arXiv 2312.12856).

The checkpoint in SkyCLIP_ViT_L14_top30pct.zip (github.com/wangzhecheng/SkyScript says where), put there under this
name. Trained on from open_clip's `openai`, which has QuickGELU; the file itself says neither that nor the pixel
statistics, for which OpenAI's are taken.
"""

model = dict(
    backbone=dict(
        type="DenseCLIP", arch="ViT-L-14", pretrained="data/weights/SkyCLIP_ViT_L14_top30pct.pt", quick_gelu=True
    ),
)
