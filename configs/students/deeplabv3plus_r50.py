"""DeepLabv3+ on ResNet-50 (44 M), by MaskCLIP+'s schedule: SGD 0.01, momentum 0.9, decay 5e-4, poly 0.9 to 1e-4."""

_base_ = "_labels.py"

norm_cfg = dict(type="BN", requires_grad=True)
loss = dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True)
head = dict(
    num_classes=len(_base_.classes),
    ignore_index=_base_.ignore,
    dropout_ratio=0.1,
    norm_cfg=norm_cfg,
    align_corners=False,
)
model = dict(
    backbone=dict(
        type="ResNetV1c",
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style="pytorch",
        contract_dilation=True,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet50_v1c"),
    ),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 12, 24, 36),
        c1_in_channels=256,
        c1_channels=48,
        loss_decode=dict(loss_weight=1.0, **loss),
        **head,
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(loss_weight=0.4, **loss),
        **head,
    ),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4))
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, by_epoch=False, begin=0, end=_base_.iters)]
