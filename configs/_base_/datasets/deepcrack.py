"""DeepCrack: cracks in concrete and asphalt, 2 classes with a background, 237 pictures (test), nothing ignored.

Liu et al., Neurocomputing 2019, https://github.com/yhlleo/DeepCrack. Names and class of interest of MESS (arXiv
2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/deepcrack",
    pictures="test_img",
    labels="test_lab_mess",
    vocabulary="deepcrack",
    background=0,
    classes_of_interest=[1],
)
settings = dict(vocabulary="deepcrack", background=0)
