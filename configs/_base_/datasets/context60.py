"""PASCAL Context with background: 60 classes, 5104 pictures (SegmentationContext/val), nothing ignored.

Mottaghi et al., CVPR 2014, https://cs.stanford.edu/~roozbeh/pascal-context/; converted by mmseg.
"""

dataset = dict(
    type="PascalContextDataset",
    data_root="data/VOCdevkit/VOC2010",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassContext"),
    ann_file="ImageSets/SegmentationContext/val.txt",
)
settings = dict(vocabulary="context60", background=0)
