"""RemoteCLIP ViT-B/32, remote sensing (arXiv 2306.11029).

RemoteCLIP-ViT-B-32.pt of huggingface.co/chendelong/RemoteCLIP, converted to open_clip's names. The authors run it as
open_clip's ViT-B-32, with GELU and OpenAI's pixel statistics; the file itself says neither.
"""

model = dict(
    backbone=dict(
        type="DenseCLIP", arch="ViT-B-32", pretrained="data/weights/RemoteCLIP-ViT-B-32.pt", quick_gelu=False
    ),
)
