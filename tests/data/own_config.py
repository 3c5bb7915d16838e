"""A method's config over a dataset of one's own."""

from runs import CONFIGS


def write_config(folder, dataset, words):
    """A method's config over a dataset in this folder."""
    path = folder / "mine.py"
    path.write_text(
        f"_base_ = '{CONFIGS}/sclip.py'\nmodel = dict(vocabulary={words!r}, background=None,\n"
        "    background_threshold=0, min_area=0)\n"
        f"test_dataloader = dict(dataset=dict(_delete_=True, data_root='', {dataset}, pipeline=[\n"
        "    dict(type='LoadPicture'), dict(type='LoadLabels'), dict(type='PackSegInputs',\n"
        "    meta_keys=('sample_idx', 'img_path', 'seg_map_path', 'ori_shape'))]))\n"
    )
    if "FolderDataset" in dataset:
        path.write_text(path.read_text().replace("labels='l'", "labels='l', picture_suffix='.png'"))
    return path
