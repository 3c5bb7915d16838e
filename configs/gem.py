"""GEM (arXiv 2312.00878): a second path of q-q, k-k and v-v attention beside the last six blocks.

Tail, positions and template are GEM's own. It released no evaluation code, so windows, names and thresholds are those
of ClearCLIP's runs of it, whose row has the common templates and positions:
`--cfg-options model.templates=imagenet80 model.backbone.positions=sclip`. The paper's best K per benchmark is
`model.backbone.tail.iterations` (VOC 3, Context 2).
"""

_base_ = "clearclip.py"
axes = dict(method="gem")
# Six blocks of any tower, as released; the toy tower of five is entered at the height that they have in twelve.
tower = 12 if _base_.axes["backbone"].startswith("toy") else None
# The window's own β grows with the tower's width: some 2 in the toy tower of 128, which would blur everything.
temperature = 10.0 if _base_.axes["backbone"] == "toy" else None
tuned = dict(blocks=6, iterations=1, temperature=temperature, tower=tower)
model = dict(templates="photo", backbone=dict(positions="gem", tail=dict(_delete_=True, type="GEM", **tuned)))
del tower, temperature
