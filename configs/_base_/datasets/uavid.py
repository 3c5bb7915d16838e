"""UAVid: 7 classes with a background, tiles of 1280 by 1080 pixels (height by width; test), 255 (filling) ignored.

Lyu et al., ISPRS Journal 2020 (arXiv 1810.10438), https://uavid.nl. Protocol and names of SegEarth-OV (arXiv
2410.01768); moving and static cars are one class. The tiles are those of its converter's defaults; its text has the
sides the other way round.
"""

_base_ = "../protocols/segearth.py"
dataset = dict(
    type="FolderDataset",
    data_root="data/uavid",
    pictures="img_dir/test",
    labels="ann_dir/test",
    picture_suffix=".png",
    vocabulary="uavid",
    background=0,
)
settings = dict(vocabulary="uavid", background=0, background_threshold=0.3)
