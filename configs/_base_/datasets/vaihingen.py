"""ISPRS Vaihingen: 6 classes, 398 tiles of 512 pixels (infrared, red, green; 17 pictures), the boundaries (0) ignored.

https://www.isprs.org/education/benchmarks/UrbanSemLab/default.aspx. Protocol and names of SegEarth-OV (arXiv
2410.01768): both sides within 448 pixels, windows of 224, a logit scale of 50; clutter, the sixth class, is the
background. Tiles as mmseg cuts them.
"""

dataset = dict(
    type="ISPRSDataset",
    data_root="data/vaihingen",
    data_prefix=dict(img_path="img_dir/val", seg_map_path="ann_dir/val"),
)
settings = dict(
    vocabulary="vaihingen",
    background=5,
    background_threshold=0.1,
    short_side=448,
    long_side=448,
    window=dict(crop=224, stride=112),
    logit_scale=50,
)
