"""EVA02-CLIP L/14 (arXiv 2303.15389): rotary positions and SwiGLU."""

model = dict(backbone=dict(type="DenseCLIP", arch="EVA02-L-14", pretrained="merged2b_s4b_b131k"))
