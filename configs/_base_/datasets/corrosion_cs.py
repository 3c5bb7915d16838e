"""Corrosion CS: how far steel bridges are corroded, 4 classes with a background (test), nothing ignored.

Bianchi and Hebdon, Virginia Tech 2021, https://doi.org/10.7294/16624663. Names and classes of interest of MESS (arXiv
2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/corrosion_cs",
    pictures="original/Test/images",
    labels="original/Test/masks",
    picture_suffix=".jpeg",
    vocabulary="corrosion_cs",
    background=0,
    classes_of_interest=[1, 2, 3],
)
settings = dict(vocabulary="corrosion_cs", background=0)
