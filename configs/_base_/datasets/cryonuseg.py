"""CryoNuSeg: nuclei of cells in frozen sections, 2 classes with a background, 30 pictures, nothing ignored.

Mahbod et al., Computers in Biology and Medicine 2021 (arXiv 2101.00442). Names and class of interest of MESS (arXiv
2306.15521); the labels are the biologist's second round.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/cryonuseg",
    pictures="tissue images",
    labels="labels_mess",
    picture_suffix=".tif",
    vocabulary="cryonuseg",
    background=0,
    classes_of_interest=[1],
)
settings = dict(vocabulary="cryonuseg", background=0)
