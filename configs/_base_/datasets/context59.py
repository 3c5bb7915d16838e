"""PASCAL Context without background: 59 classes, 5104 pictures (SegmentationContext/val), background ignored.

Mottaghi et al., CVPR 2014, https://cs.stanford.edu/~roozbeh/pascal-context/; converted by mmseg.
"""

dataset = dict(
    type="PascalContextDataset59",
    data_root="data/VOCdevkit/VOC2010",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
    ann_file="ImageSets/SegmentationContext/val.txt",
)
settings = dict(vocabulary="context59", background=None)
