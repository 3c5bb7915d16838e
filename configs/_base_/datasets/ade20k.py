"""ADE20K (SceneParse150): 150 classes, 2000 pictures (validation), everything else (0) ignored.

Zhou et al., CVPR 2017, http://sceneparsing.csail.mit.edu.
"""

dataset = dict(
    type="ADE20KDataset",
    data_root="data/ade/ADEChallengeData2016",
    data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
)
settings = dict(vocabulary="ade20k", background=None)
