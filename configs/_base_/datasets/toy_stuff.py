"""The toy world without a background class: things and grounds, the same pictures as `toy`."""

dataset = dict(
    type="FolderDataset",
    data_root="data/toy",
    pictures="images/val",
    labels="labels_stuff/val",
    picture_suffix=".png",
    vocabulary="toy_stuff",
)
settings = dict(vocabulary="toy_stuff", background=None, short_side=None, window=dict(crop=64, stride=32))
