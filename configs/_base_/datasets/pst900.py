"""PST900: underground, in thermal pictures: 5 classes with a background, 288 pictures (test), nothing ignored.

Shivakumar et al., ICRA 2020 (arXiv 1909.10980), https://github.com/ShreyasSkandanS/pst900_thermal_rgb. Names and
classes of interest of MESS (arXiv 2306.15521), which reads the thermal pictures as grey ones.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/pst900",
    pictures="test/thermal",
    labels="test/labels",
    picture_suffix=".png",
    vocabulary="pst900",
    background=0,
    classes_of_interest=[1, 2, 3, 4],
)
settings = dict(vocabulary="pst900", background=0)
