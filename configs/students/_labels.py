"""What a student learns from: a folder that `sclip-seg label --format png` wrote, in mmsegmentation's own words.

`sclip-seg train` sets the variables; mmsegmentation's own tools read the same file, with SCLIP_LABELS=DIR before them.
MaskCLIP+ asks the teacher about each augmented crop; here the maps of the whole pictures are augmented with them.
"""

_base_ = []  # before the imports: mmengine takes a config with imports for one of its other kind

import json  # noqa: E402
from pathlib import Path  # noqa: E402

default_scope = "mmseg"
custom_imports = dict(imports=["sclip_seg"], allow_failed_imports=False)

folder = r"{{$SCLIP_LABELS:work_dirs/labels}}"
told = json.loads(Path(folder, "dataset.json").read_text(encoding="utf-8"))
teacher, classes, ignore = told["signature"], told["classes"], told["ignore"]
iters, side = int("{{$SCLIP_ITERS:8000}}"), int("{{$SCLIP_CROP:512}}")
del json, Path, told

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=ignore,
        size=(side, side),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

small = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
suffixes = (*small, ".BMP", ".JPEG", ".JPG", ".PNG", ".PPM", ".TIF", ".TIFF", ".WEBP")
del small
pack = dict(
    type="PackSegInputs",
    meta_keys=("sample_idx", "img_path", "seg_map_path", "ori_shape", "img_shape", "reduce_zero_label"),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="FolderDataset",
        data_root=folder,
        pictures=r"{{$SCLIP_PICTURES:images}}",
        labels="labels",
        picture_suffix=suffixes,
        vocabulary=[[name] for name in classes],
        ignore_index=ignore,
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadLabels"),
            dict(type="RandomResize", scale=(4 * side, side), ratio_range=(0.5, 2.0), keep_ratio=True),
            dict(type="RandomCrop", crop_size=(side, side), cat_max_ratio=0.75, ignore_index=ignore),
            dict(type="RandomFlip", prob=0.5),
            dict(type="PhotoMetricDistortion"),
            pack,
        ],
    ),
)
# The size at which a student is asked, before a dataset's own labels are loaded at theirs.
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(4 * side, side), keep_ratio=True), pack]

train_cfg = dict(type="IterBasedTrainLoop", max_iters=iters, val_interval=iters + 1)
sync_bn = "torch"  # where several processes train
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=max(iters // 8, 1), max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
custom_hooks = [dict(type="PlainCheckpoints")]
visualizer = dict(type="SegLocalVisualizer")  # without a backend
log_processor = dict(by_epoch=False)
log_level = "INFO"
