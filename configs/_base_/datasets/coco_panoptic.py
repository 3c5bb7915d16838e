"""COCO-Panoptic as semantic labels: 133 classes, 5000 pictures (val2017), unlabelled pixels (255) ignored.

Kirillov et al., CVPR 2019 (arXiv 1801.00868), https://cocodataset.org. Every segment is its category; the pictures are
COCO-Stuff's.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/coco_panoptic",
    pictures="images/val2017",
    labels="annotations/val2017",
    vocabulary="coco_panoptic",
)
settings = dict(vocabulary="coco_panoptic", background=None)
