"""VDD: 7 classes with a background, pictures of drones (test).

Cai et al., arXiv 2305.13608, https://github.com/RussRobin/VDD. Protocol and names of SegEarth-OV (arXiv 2410.01768):
both sides within 448 pixels, windows of 224, a logit scale of 50.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/vdd",
    pictures="test/src",
    labels="test/gt",
    picture_suffix=".JPG",
    vocabulary="vdd",
    background=0,
)
settings = dict(
    vocabulary="vdd",
    background=0,
    background_threshold=0.3,
    short_side=448,
    long_side=448,
    window=dict(crop=224, stride=112),
    logit_scale=50,
)
