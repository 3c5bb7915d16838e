"""PASCAL Context with 459 classes, 5105 pictures (VOC 2010's val), labels of 16 bits, nothing ignored.

Mottaghi et al., CVPR 2014, https://cs.stanford.edu/~roozbeh/pascal-context/. Prepared as for CAT-Seg (arXiv
2303.11797): a label is its class and 1.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/VOCdevkit/VOC2010",
    pictures="JPEGImages",
    labels="SegmentationClass459",
    ann_file="ImageSets/Main/val.txt",
    reduce_zero_label=True,
    vocabulary="context459",
)
settings = dict(vocabulary="context459", background=None)
