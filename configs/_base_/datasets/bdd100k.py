"""BDD100K: 19 classes, 1000 pictures (10k/val), 255 ignored.

Yu et al., CVPR 2020 (arXiv 1805.04687), https://doc.bdd100k.com. One of MESS's sets (arXiv 2306.15521).
"""

dataset = dict(
    type="BDD100KDataset",
    data_root="data/bdd100k",
    data_prefix=dict(img_path="images/10k/val", seg_map_path="labels/sem_seg/masks/val"),
)
settings = dict(vocabulary="bdd100k", background=None)
