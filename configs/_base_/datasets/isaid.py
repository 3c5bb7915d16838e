"""iSAID: 16 classes with a background, 11644 tiles of 896 pixels that overlap by 384 (val), 255 (filling) ignored.

Waqas Zamir et al., CVPR workshops 2019, https://captain-whu.github.io/iSAID/. Protocol and names of SegEarth-OV (arXiv
2410.01768). Tiles as mmseg cuts them.
"""

_base_ = "../protocols/segearth.py"
dataset = dict(
    type="iSAIDDataset",
    data_root="data/isaid",
    data_prefix=dict(img_path="img_dir/val", seg_map_path="ann_dir/val"),
)
settings = dict(vocabulary="isaid", background=0, background_threshold=0.4)
