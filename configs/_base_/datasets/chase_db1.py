"""CHASE DB1: vessels of the retina, 2 classes with a background, the last 20 of 28 pictures, nothing ignored.

Fraz et al., IEEE TBME 2012, https://blogs.kingston.ac.uk/retinal/chasedb1/. Split, names and class of interest of MESS
(arXiv 2306.15521); the labels are the first observer's.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/chase_db1",
    pictures="images/test",
    labels="annotations/test",
    vocabulary="chase_db1",
    background=0,
    classes_of_interest=[1],
)
settings = dict(vocabulary="chase_db1", background=0)
