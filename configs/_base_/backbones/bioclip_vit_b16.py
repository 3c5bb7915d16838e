"""BioCLIP ViT-B/16, organisms (arXiv 2311.18803), trained on from OpenAI's weights.

huggingface.co/imageomics/bioclip, whose open_clip_config.json says activation and pixel statistics.
"""

model = dict(
    backbone=dict(type="DenseCLIP", arch="hf-hub:imageomics/bioclip", pretrained=None, quick_gelu="known"),
)
