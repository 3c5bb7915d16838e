"""Mapillary Vistas 1.2: 65 classes, 2000 pictures (validation), unlabelled pixels (65) ignored.

Neuhold et al., ICCV 2017, https://www.mapillary.com/dataset/vistas. mmseg's MapillaryDataset_v1 scores Unlabeled as a
class, for which there is no word; so its own classes are read from the folders here.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/mapillary",
    pictures="validation/images",
    labels="validation/v1.2/labels",
    vocabulary="mapillary_v1",
    ignore_index=65,
)
settings = dict(vocabulary="mapillary_v1", background=None)
