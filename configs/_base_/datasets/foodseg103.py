"""FoodSeg103: 104 classes with a background, 2135 pictures (test), nothing ignored.

Wu et al., ACM MM 2021 (arXiv 2105.05409), https://xiongweiwu.github.io/foodseg103.html. Names and classes of interest
of MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/foodseg103",
    pictures="Images/img_dir/test",
    labels="Images/ann_dir/test",
    vocabulary="foodseg103",
    background=0,
    classes_of_interest=list(range(1, 104)),
)
settings = dict(vocabulary="foodseg103", background=0)
