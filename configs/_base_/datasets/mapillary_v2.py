"""Mapillary Vistas 2.0: 123 classes, 2000 pictures (validation), unlabelled pixels (123) ignored.

Neuhold et al., ICCV 2017, https://www.mapillary.com/dataset/vistas. mmseg's MapillaryDataset_v2 scores Unlabeled as a
class, for which there is no word; so its own classes are read from the folders here.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/mapillary",
    pictures="validation/images",
    labels="validation/v2.0/labels",
    vocabulary="mapillary_v2",
    ignore_index=123,
)
settings = dict(vocabulary="mapillary_v2", background=None)
