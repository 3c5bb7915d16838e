"""COCO-Stuff 164k: 171 classes, 5000 pictures (val2017), 255 ignored.

Caesar et al., CVPR 2018 (arXiv 1612.03716), https://github.com/nightrome/cocostuff; converted by mmseg.
"""

dataset = dict(
    type="COCOStuffDataset",
    data_root="data/coco_stuff164k",
    data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017"),
)
settings = dict(vocabulary="coco_stuff171", background=None)
