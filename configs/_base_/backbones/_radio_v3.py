"""What the backbones of C-RADIOv3 have in common: no backbone by itself.

Read are NVIDIA's files for torch.hub: the model.safetensors beside them have no adaptor for words. Those are read by
the text tower that the file names: SigLIP 2 So400m/16 NaFlex, of
https://huggingface.co/google/siglip2-so400m-patch16-naflex (offline, its model.safetensors and tokenizer at
data/weights/google/siglip2-so400m-patch16-naflex), or open_clip's ViT-gopt-16-SigLIP2-384, webli.
Positions as NVIDIA's code resizes them since 2025-06-28; as before: `model.backbone.positions=radio_corners`.
"""

model = dict(backbone=dict(type="DenseCLIP", quick_gelu=False))
