"""C-RADIOv3-L, a ViT-L/16 taught by SigLIP 2, DINOv2, SAM and others (RADIO: arXiv 2312.06709, 2412.07679).

NVIDIA's file for torch.hub, c-radio-v3_l_half.pth.tar of https://huggingface.co/nvidia/C-RADIOv3-L. GELU; pixel
statistics as the file says them, which are CLIP's. What it needs beside that, `_radio_v3.py` says.
"""

_base_ = "_radio_v3.py"
model = dict(backbone=dict(arch="c-radio_v3-l", pretrained="data/weights/c-radio-v3_l_half.pth.tar"))
