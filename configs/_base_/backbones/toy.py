"""The tiny CLIP of the toy world, shipped with the package and trained by `sclip-seg toy-train`, and its tiny guide.

The guide is a ViT without positions or class token, trained without labels by `sclip-seg toy-guide-train`.
"""

model = dict(backbone=dict(type="DenseCLIP", arch="toy", pretrained="toy", quick_gelu=True))
# Patches of half the toy CLIP's, as DINO-B/8 beside CLIP-B/16: a thing is 6 to 8 of them wide. Without positions, so
# that features speak of content; the last norm before the pooling, so that they have it.
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
        pos_embed="none",
        global_pool="avg",
        fc_norm=False,
    ),
)
# Regions by colour, of a world of plain things on grounds: its borders are sharp, its things small.
toy_regions = dict(type="felzenszwalb", scale=100.0, sigma=0.5, min_size=20)
