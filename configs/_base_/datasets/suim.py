"""SUIM: underwater, 8 classes with a background, 110 pictures (TEST), nothing ignored.

Islam et al., IROS 2020 (arXiv 2004.01241), https://irvlab.cs.umn.edu/resources/suim-dataset. Names and classes of
interest of MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/suim",
    pictures="TEST/images",
    labels="TEST/labels_mess",
    vocabulary="suim",
    background=0,
    classes_of_interest=[1, 2, 3, 4, 5, 6, 7],
)
settings = dict(vocabulary="suim", background=0)
