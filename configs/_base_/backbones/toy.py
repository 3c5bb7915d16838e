"""The tiny CLIP of the toy world, shipped with the package and trained by tools/toy_train.py, and its tiny guide.

The guide is a ViT without positions or class token, trained without labels by tools/toy_guide_train.py.
"""

model = dict(backbone=dict(type="DenseCLIP", arch="toy", pretrained="toy", quick_gelu=True))
toy_guide = dict(
    type="TimmGuide",
    arch="vit_tiny_patch16_224",
    pretrained="toy",
    options=dict(
        img_size=64,
        patch_size=4,
        embed_dim=96,
        depth=3,
        num_heads=3,
        class_token=False,
        global_pool="avg",
        pos_embed="none",
        fc_norm=False,
    ),
)
