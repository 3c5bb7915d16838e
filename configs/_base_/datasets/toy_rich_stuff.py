"""The rich world without a background class: things and grounds, the same pictures as `toy_rich`."""

dataset = dict(
    type="FolderDataset",
    data_root="data/toy_rich",
    pictures="images/val",
    labels="labels_stuff/val",
    picture_suffix=".png",
    vocabulary="toy_rich_stuff",
)
settings = dict(vocabulary="toy_rich_stuff", background=None, short_side=None, window=dict(crop=64, stride=32))
