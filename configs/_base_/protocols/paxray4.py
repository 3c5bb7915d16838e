"""PAXRay-4 of MESS (arXiv 2306.15521): four structures in drawn chest X-rays, which lie over each other.

Seibold et al., BMVC 2022 (arXiv 2210.03416), https://constantinseibold.github.io/paxray/. A pixel may be lung, rib and
mediastinum at once, so that no one label map says it: MESS asks for each structure alone against the rest, and its
figure is the mean of four. Folders as its preparation makes them, 0 is the rest, nothing is ignored.
"""

dataset = dict(
    type="FolderDataset",
    data_root="data/paxray_dataset",
    pictures="images_detectron2/test",
    picture_suffix=".png",
    background=0,
    classes_of_interest=[1],
)
settings = dict(background=0)
