"""LoveDA: 7 classes with a background, 1669 pictures (Val, town and country), regions without data (0) ignored.

Wang et al., NeurIPS 2021 datasets (arXiv 2110.08733), https://github.com/Junjue-Wang/LoveDA. Protocol and names of
SegEarth-OV (arXiv 2410.01768).
"""

_base_ = "../protocols/segearth.py"
dataset = dict(
    type="LoveDADataset",
    data_root="data/loveda",
    data_prefix=dict(img_path="img_dir/val", seg_map_path="ann_dir/val"),
)
settings = dict(vocabulary="loveda", background=0, background_threshold=0.3)
