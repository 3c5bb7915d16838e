"""UDD5: 5 classes with a background (the last), pictures of drones (val).

Chen et al., PRCV 2018, https://github.com/MarcWong/UDD. Protocol and names of SegEarth-OV (arXiv 2410.01768).
"""

_base_ = "../protocols/segearth.py"
dataset = dict(
    type="FolderDataset",
    data_root="data/udd5",
    pictures="val/src",
    labels="val/gt",
    picture_suffix=".JPG",
    vocabulary="udd5",
    background=4,
)
settings = dict(vocabulary="udd5", background=4, background_threshold=0.4)
