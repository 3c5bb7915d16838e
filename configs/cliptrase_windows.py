"""CLIPtrase (arXiv 2407.08268) by the common protocol: SCLIP's windows and names, regions voting within each window."""

_base_ = "sclip.py"
axes = dict(method="cliptrase_windows")
# DBSCAN's thresholds hold for a window's number of patches: 14 x 14, or 8 x 8 in the toy world.
tuned = dict(eps=0.4 if _base_.axes["backbone"].startswith("toy") else 0.7, min_samples=3)
model = dict(
    logit_scale=100,
    background_threshold=0.0,
    min_area=0.0,
    backbone=dict(tail=dict(_delete_=True, type="CLIPtrase", **tuned)),
)
