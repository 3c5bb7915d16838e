"""C-RADIOv3-B, a ViT-B/16 taught by SigLIP 2, DINOv2, SAM and others (RADIO: arXiv 2312.06709, 2412.07679).

NVIDIA's file for torch.hub, c-radio_v3-b_half.pth.tar of https://huggingface.co/nvidia/C-RADIOv3-B: its
model.safetensors has no adaptor for words. Those are read by the text tower that the file names: SigLIP 2 So400m/16
NaFlex, of https://huggingface.co/google/siglip2-so400m-patch16-naflex (offline, its model.safetensors and tokenizer at
data/weights/google/siglip2-so400m-patch16-naflex), or open_clip's ViT-gopt-16-SigLIP2-384, webli. GELU; pixel
statistics as the file says them, which are CLIP's.
Positions as NVIDIA's code resizes them since 2025-06-28; as before: `model.backbone.positions=radio_corners`.
"""

model = dict(
    backbone=dict(
        type="DenseCLIP",
        arch="c-radio_v3-b",
        pretrained="data/weights/c-radio_v3-b_half.pth.tar",
        quick_gelu=False,
    ),
)
