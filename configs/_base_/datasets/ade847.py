"""ADE20K's full set: 847 classes, 2000 pictures (validation), labels of 16 bits, whatever is none of them ignored.

Zhou et al., IJCV 2019, https://groups.csail.mit.edu/vision/datasets/ADE20K/. Classes and preparation of MaskFormer
(arXiv 2107.06278): short sides above 512 pixels become 512, of pictures and labels, which are scored at that size. Its
preparation writes the pictures as JPEG once more; here nothing is lost.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/ade/ADE20K_847",
    pictures="images/validation",
    labels="annotations/validation",
    picture_suffix=".png",
    vocabulary="ade847",
)
settings = dict(vocabulary="ade847", background=None)
