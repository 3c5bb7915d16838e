"""ISPRS Vaihingen: 6 classes, 398 tiles of 512 pixels (infrared, red, green; 17 pictures), the boundaries (0) ignored.

https://www.isprs.org/education/benchmarks/UrbanSemLab/default.aspx. Protocol and names of SegEarth-OV (arXiv
2410.01768); clutter, the sixth class, is the background. Tiles as mmseg cuts them.
"""

_base_ = "../protocols/segearth.py"
dataset = dict(
    type="ISPRSDataset",
    data_root="data/vaihingen",
    data_prefix=dict(img_path="img_dir/val", seg_map_path="ann_dir/val"),
)
settings = dict(vocabulary="vaihingen", background=5, background_threshold=0.1)
