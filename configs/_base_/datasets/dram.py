"""DRAM: 12 classes with a background (the last), paintings (test), 255 ignored.

Cohen et al., Computer Graphics Forum 2022,
https://faculty.runi.ac.il/arik/site/artseg/Dram-Dataset.html. Names and classes of interest of MESS (arXiv
2306.15521): VOC's classes that occur, everything else is background.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/dram",
    pictures="test",
    labels="labels_mess",
    vocabulary="dram",
    background=11,
    classes_of_interest=list(range(0, 11)),
)
settings = dict(vocabulary="dram", background=11)
