"""COCO-Object: background and 80 things, 81 classes, 5000 pictures (val2017), nothing ignored.

The things of COCO-Stuff 164k (arXiv 1612.03716), everything else is background; data/README.md has the
conversion. The queries are SCLIP's (arXiv 2312.01597), with their known fault in "bed": coco_object_mended
is the list without it.
"""

dataset = dict(
    type="COCOObjectDataset",
    data_root="data/coco_object",
    data_prefix=dict(img_path="images/val2017", seg_map_path="annotations/val2017"),
)
settings = dict(vocabulary="coco_object_bg26", background=0)
