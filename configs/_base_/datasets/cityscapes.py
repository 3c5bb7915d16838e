"""Cityscapes: 19 classes, 500 pictures (gtFine val), 255 ignored.

Cordts et al., CVPR 2016, https://www.cityscapes-dataset.com; train ids made by mmseg's script.
"""

dataset = dict(
    type="CityscapesDataset",
    data_root="data/cityscapes",
    data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
)
settings = dict(vocabulary="cityscapes", background=None)
