"""The loop, the loader and the metric, the same for every method and dataset."""

default_scope = "mmseg"
custom_imports = dict(imports=["sclip_seg"], allow_failed_imports=False)
log_level = "WARNING"
visualizer = dict(type="SegLocalVisualizer")  # without a backend: pictures are drawn by --show-dir
default_hooks = dict(timer=None, logger=None, param_scheduler=None, checkpoint=None)
# Nothing is trained: each part of the model is moved to its device, none is wrapped for gradients.
model_wrapper_cfg = dict(type="MMSeparateDistributedDataParallel")

pack = dict(
    type="PackSegInputs", meta_keys=("sample_idx", "img_path", "seg_map_path", "ori_shape", "reduce_zero_label")
)
# LoadPicture by the name that mmseg's inferencer looks for, `loading.py` registers it under both.
test_pipeline = [dict(type="LoadImageFromFile"), pack]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=False,
    sampler=dict(type="Disjoint"),
    dataset=dict(pipeline=[dict(type="LoadImageFromFile"), dict(type="LoadLabels"), pack]),
)
test_evaluator = dict(type="PooledIoU")
test_cfg = dict(type="TestLoop")
