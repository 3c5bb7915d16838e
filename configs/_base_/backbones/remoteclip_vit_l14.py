"""RemoteCLIP ViT-L/14, remote sensing (arXiv 2306.11029).

RemoteCLIP-ViT-L-14.pt of huggingface.co/chendelong/RemoteCLIP, converted to open_clip's names. The authors run it as
open_clip's ViT-L-14, with GELU and OpenAI's pixel statistics; the file itself says neither.
"""

model = dict(
    backbone=dict(
        type="DenseCLIP", arch="ViT-L-14", pretrained="data/weights/RemoteCLIP-ViT-L-14.pt", quick_gelu=False
    ),
)
