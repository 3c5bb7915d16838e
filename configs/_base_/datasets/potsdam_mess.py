"""ISPRS Potsdam by MESS's protocol: 6 classes with a background (the last), tiles of 1024 pixels, 255 ignored.

https://www.isprs.org/education/benchmarks/UrbanSemLab/default.aspx. Tiles, names and classes of interest of MESS
(arXiv 2306.15521); the pictures are infrared,
red and green, the labels those with boundaries.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/potsdam",
    pictures="images_mess/test",
    labels="annotations_mess/test",
    picture_suffix=".png",
    vocabulary="potsdam_mess",
    background=5,
    classes_of_interest=[0, 1, 2, 3, 4],
)
settings = dict(vocabulary="potsdam_mess", background=5)
