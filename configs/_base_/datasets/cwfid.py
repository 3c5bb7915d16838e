"""CWFID: crop and weed in a field, 3 classes with a background, 21 pictures (MESS's test), nothing ignored.

Haug and Ostermann, ECCV workshops 2014, https://github.com/cwfid/dataset. Split, names, colours and classes of
interest of MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/cwfid",
    pictures="images_mess",
    labels="annotations_mess",
    picture_suffix=".png",
    vocabulary="cwfid",
    background=0,
    classes_of_interest=[1, 2],
)
settings = dict(vocabulary="cwfid", background=0)
