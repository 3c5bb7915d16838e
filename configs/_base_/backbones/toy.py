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
# Regions by colour, of a world of plain things on grounds. Chosen on other scenes than those that are scored, the first
# 24 of `sclip-seg toy-world --seed 1`: the best mean of corrclip's and zsseg's mIoU among sigma 0.3, 0.5, 0.8, scale
# 50, 100, 200 and min_size 20, 50. But for sigma these are the provider's own values.
toy_regions = dict(type="felzenszwalb", scale=100.0, sigma=0.5, min_size=50)
