"""GeoRSCLIP ViT-B/32, remote sensing (RS5M, arXiv 2306.11300).

ckpt/RS5M_ViT-B-32.pt of huggingface.co/Zilun/GeoRSCLIP. The authors load it into open_clip's model of OpenAI's weights,
which computes QuickGELU; the file itself says neither that nor the pixel statistics, for which OpenAI's are taken.
"""

model = dict(
    backbone=dict(type="DenseCLIP", arch="ViT-B-32", pretrained="data/weights/RS5M_ViT-B-32.pt", quick_gelu=True),
)
