"""Dark Zurich: Cityscapes' 19 classes at night, 50 pictures (val), 255 ignored.

Sakaridis et al., ICCV 2019 (arXiv 1901.05946), https://www.trace.ethz.ch/publications/2019/GCMA_UIoU/. Cityscapes'
names.
"""

dataset = dict(
    type="DarkZurichDataset",
    data_root="data/dark_zurich",
    data_prefix=dict(img_path="rgb_anon/val/night/GOPR0356", seg_map_path="gt/val/night/GOPR0356"),
)
settings = dict(vocabulary="cityscapes", background=None)
