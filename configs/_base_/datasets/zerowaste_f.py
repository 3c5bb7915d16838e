"""ZeroWaste-f: waste on a conveyor belt, 5 classes with a background, 929 pictures (test), nothing ignored.

Bashkirova et al., CVPR 2022 (arXiv 2106.02740), http://ai.bu.edu/zerowaste/. Names and classes of interest of MESS
(arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/zerowaste-f",
    pictures="splits_final_deblurred/test/data",
    labels="splits_final_deblurred/test/sem_seg",
    picture_suffix=".PNG",
    label_suffix=".PNG",
    vocabulary="zerowaste_f",
    background=0,
    classes_of_interest=[1, 2, 3, 4],
)
settings = dict(vocabulary="zerowaste_f", background=0)
