"""MHP v1: people, what they wear and their parts, 19 classes with a background (test), nothing ignored.

Li et al., arXiv 1705.07206, https://github.com/ZhaoJ9014/Multi-Human-Parsing. Names and classes of interest of MESS
(arXiv 2306.15521), which lays the people of a picture over each other, the higher class on top.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/mhp_v1",
    pictures="images_mess/test",
    labels="annotations_mess/test",
    vocabulary="mhp_v1",
    background=0,
    classes_of_interest=list(range(1, 19)),
)
settings = dict(vocabulary="mhp_v1", background=0)
