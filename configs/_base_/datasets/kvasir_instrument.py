"""Kvasir-Instrument: tools in endoscopy, 2 classes with a background, 118 pictures (test), nothing ignored.

Jha et al., MMM 2021 (arXiv 2011.08065), https://datasets.simula.no/kvasir-instrument/. Names and class of interest of
MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/kvasir-instrument",
    pictures="images",
    labels="masks_mess",
    ann_file="test.txt",
    vocabulary="kvasir_instrument",
    background=0,
    classes_of_interest=[1],
)
settings = dict(vocabulary="kvasir_instrument", background=0)
