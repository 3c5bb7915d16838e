"""The toy world with a background class: things on some ground, drawn by `sclip-seg toy-world` (100 pictures).

Pictures are read at their own size, in windows of the toy CLIP's input.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/toy",
    pictures="images/val",
    labels="labels/val",
    picture_suffix=".png",
    vocabulary="toy",
    background=0,
)
settings = dict(vocabulary="toy", background=0, short_side=None, window=dict(crop=64, stride=32))
