"""PASCAL VOC 2012 without background: 20 classes, 1449 pictures (Segmentation/val), 0 and 255 ignored.

Everingham et al., http://host.robots.ox.ac.uk/pascal/VOC/voc2012/; queries of SCLIP (arXiv 2312.01597).
"""

dataset = dict(
    type="PascalVOC20Dataset",
    data_root="data/VOCdevkit/VOC2012",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    ann_file="ImageSets/Segmentation/val.txt",
)
settings = dict(vocabulary="voc20_synonyms", background=None)
