"""WorldFloods: floods from space, 3 classes with a background, tiles of 1024 pixels (test), 255 ignored.

Mateo-Garcia et al., Scientific Reports 2021, https://spaceml-org.github.io/ml4floods/content/worldfloods_dataset.html.
Three of
Sentinel-2's 13 bands (near infrared, red, blue), tiles, names and class of interest of MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/worldfloods",
    pictures="images_mess/test",
    labels="annotations_mess/test",
    picture_suffix=".png",
    vocabulary="worldfloods",
    background=0,
    classes_of_interest=[1],
)
settings = dict(vocabulary="worldfloods", background=0)
