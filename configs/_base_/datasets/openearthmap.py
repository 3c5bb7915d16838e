"""OpenEarthMap without xBD: 9 classes with a background, 384 pictures (val), nothing ignored.

Xia et al., WACV 2023 (arXiv 2210.10732), https://open-earth-map.org. Protocol and names of SegEarth-OV (arXiv
2410.01768).
"""

_base_ = "../protocols/segearth.py"
dataset = dict(
    type="FolderDataset",
    data_root="data/openearthmap",
    pictures="img_dir/val",
    labels="ann_dir/val",
    picture_suffix=".tif",
    label_suffix=".tif",
    vocabulary="openearthmap",
    background=0,
)
settings = dict(vocabulary="openearthmap", background=0, background_threshold=0.1)
