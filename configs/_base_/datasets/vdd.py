"""VDD: 7 classes with a background, pictures of drones (test).

Cai et al., arXiv 2305.13608, https://github.com/RussRobin/VDD. Protocol and names of SegEarth-OV (arXiv 2410.01768).
"""

_base_ = "../protocols/segearth.py"
dataset = dict(
    type="FolderDataset",
    data_root="data/vdd",
    pictures="test/src",
    labels="test/gt",
    picture_suffix=".JPG",
    vocabulary="vdd",
    background=0,
)
settings = dict(vocabulary="vdd", background=0, background_threshold=0.3)
