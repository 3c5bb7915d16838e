"""GeoRSCLIP ViT-H/14, remote sensing (RS5M, arXiv 2306.11300).

ckpt/RS5M_ViT-H-14.pt of huggingface.co/Zilun/GeoRSCLIP, from LAION-2B's H/14, which has GELU; the file itself says
neither that nor the pixel statistics, for which OpenAI's are taken.
"""

model = dict(
    backbone=dict(type="DenseCLIP", arch="ViT-H-14", pretrained="data/weights/RS5M_ViT-H-14.pt", quick_gelu=False),
)
