"""LPOSS+ (arXiv 2503.19777): LPOSS, then spread over the pixels of the network's input as well.

The refinement goes with any other method: `--cfg-options model.refine=[LPOSSPlus]`.
"""

_base_ = ["lposs.py"]
axes = dict(method="lposs_plus")
model = dict(refine=[dict(type="LPOSSPlus", reach=6, tau=0.01, alpha=0.95, steps=10), "ClassMaximum"])
