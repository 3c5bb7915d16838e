"""COCO-Stuff 10k: 171 classes, 1000 pictures (test2014), unlabelled pixels (0) ignored.

Caesar et al., CVPR 2018 (arXiv 1612.03716), https://github.com/nightrome/cocostuff10k; converted by mmseg.
"""

dataset = dict(
    type="COCOStuffDataset",
    data_root="data/coco_stuff10k",
    data_prefix=dict(img_path="images/test2014", seg_map_path="annotations/test2014"),
    reduce_zero_label=True,
)
settings = dict(vocabulary="coco_stuff171", background=None)
