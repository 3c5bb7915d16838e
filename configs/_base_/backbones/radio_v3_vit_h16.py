"""C-RADIOv3-H, a ViT-H/16 taught by SigLIP 2, DINOv2, SAM and others (RADIO: arXiv 2312.06709, 2412.07679).

NVIDIA's file for torch.hub, c-radio_v3-h_half.pth.tar of https://huggingface.co/nvidia/C-RADIOv3-H. GELU; pixel
statistics as the file says them, which are CLIP's. What it needs beside that, `_radio_v3.py` says.
"""

_base_ = "_radio_v3.py"
model = dict(backbone=dict(arch="c-radio_v3-h", pretrained="data/weights/c-radio_v3-h_half.pth.tar"))
