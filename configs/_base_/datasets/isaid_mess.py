"""iSAID by MESS's protocol: 16 classes with a background, tiles of 1024 pixels (val), 255 (filling) ignored.

Waqas Zamir et al., CVPR workshops 2019, https://captain-whu.github.io/iSAID/. Tiles, names and classes of interest of
MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/isaid",
    pictures="images_mess/val",
    labels="annotations_mess/val",
    picture_suffix=".png",
    vocabulary="isaid_mess",
    background=0,
    classes_of_interest=list(range(1, 16)),
)
settings = dict(vocabulary="isaid_mess", background=0)
