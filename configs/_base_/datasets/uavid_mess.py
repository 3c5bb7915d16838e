"""UAVid by MESS's protocol: 8 classes with a background, tiles of 1024 pixels (val), 255 (filling) ignored.

Lyu et al., ISPRS Journal 2020 (arXiv 1810.10438), https://uavid.nl. Tiles, names and classes of interest of MESS
(arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/uavid",
    pictures="images_mess/val",
    labels="annotations_mess/val",
    picture_suffix=".png",
    vocabulary="uavid_mess",
    background=0,
    classes_of_interest=[1, 2, 3, 4, 5, 6, 7],
)
settings = dict(vocabulary="uavid_mess", background=0)
