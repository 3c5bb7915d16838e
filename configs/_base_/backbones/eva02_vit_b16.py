"""EVA02-CLIP B/16 (arXiv 2303.15389): rotary positions and SwiGLU."""

model = dict(backbone=dict(type="DenseCLIP", arch="EVA02-B-16", pretrained="merged2b_s8b_b131k"))
