"""PASCAL VOC 2012 with background: 21 classes, 1449 pictures (Segmentation/val), 255 ignored.

Everingham et al., http://host.robots.ox.ac.uk/pascal/VOC/voc2012/; queries of SCLIP (arXiv 2312.01597).
"""

dataset = dict(
    type="PascalVOCDataset",
    data_root="data/VOCdevkit/VOC2012",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    ann_file="ImageSets/Segmentation/val.txt",
)
settings = dict(vocabulary="voc21_bg26", background=0)
