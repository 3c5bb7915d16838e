"""CUB-200-2011: 200 birds and a background, 5794 pictures (test), nothing ignored.

Wah et al., Caltech 2011, https://www.vision.caltech.edu/datasets/cub_200_2011/. Names and classes of interest of MESS
(arXiv 2306.15521); a bird is where more than half of five people drew it.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/cub200",
    pictures="images_mess/test",
    labels="annotations_mess/test",
    vocabulary="cub200",
    background=0,
    classes_of_interest=list(range(1, 201)),
)
settings = dict(vocabulary="cub200", background=0)
