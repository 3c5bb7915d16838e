"""FloodNet: after a flood, 10 classes with a background, tiles of 1024 pixels (test), 255 (filling) ignored.

Rahnemoonfar et al., IEEE Access 2021 (arXiv 2012.02951), https://github.com/BinaLab/FloodNet-Supervised_v1.0. Tiles,
names and classes of interest of MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/floodnet",
    pictures="images_mess/test",
    labels="annotations_mess/test",
    picture_suffix=".png",
    vocabulary="floodnet",
    background=0,
    classes_of_interest=[1, 3],
)
settings = dict(vocabulary="floodnet", background=0)
