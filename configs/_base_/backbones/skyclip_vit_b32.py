"""SkyCLIP ViT-B/32, remote sensing (SkyScript, arXiv 2312.12856).

The checkpoint in SkyCLIP_ViT_B32_top50pct.zip (github.com/wangzhecheng/SkyScript says where), put there under this
name. Trained on from open_clip's laion2b_e16, which has GELU; the file itself says neither that nor the pixel
statistics, for which OpenAI's are taken.
"""

model = dict(
    backbone=dict(
        type="DenseCLIP", arch="ViT-B-32", pretrained="data/weights/SkyCLIP_ViT_B32_top50pct.pt", quick_gelu=False
    ),
)
