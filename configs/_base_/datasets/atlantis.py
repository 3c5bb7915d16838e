"""ATLANTIS: 56 classes about water, pictures of Flickr (test), unlabelled pixels (0) ignored.

Erfani et al., Environmental Modelling & Software 2022, https://github.com/smhassanerfani/atlantis.
Names of MESS (arXiv 2306.15521).
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/atlantis",
    pictures="images/test",
    labels="masks/test",
    reduce_zero_label=True,
    vocabulary="atlantis",
    classes_of_interest=list(range(0, 56)),
)
settings = dict(vocabulary="atlantis", background=None)
