"""The rich world with a background class: harder to read from colour, `sclip-seg toy-world --world toy_rich`.

Pictures are read at their own size, in windows of the toy CLIP's input.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/toy_rich",
    pictures="images/val",
    labels="labels/val",
    picture_suffix=".png",
    vocabulary="toy_rich",
    background=0,
)
settings = dict(vocabulary="toy_rich", background=0, short_side=None, window=dict(crop=64, stride=32))
