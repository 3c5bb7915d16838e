"""PAXRay-4: the bones in chest X-rays, 2 classes with a background (test), nothing ignored; one of MESS's four.

Seibold et al., BMVC 2022 (arXiv 2210.03416), https://constantinseibold.github.io/paxray/. Names and class of interest
of MESS (arXiv 2306.15521): `protocols/paxray4.py`.
"""

_base_ = "../protocols/paxray4.py"
dataset = dict(labels="annotations_detectron2/test/bones", vocabulary="paxray_bones")
settings = dict(vocabulary="paxray_bones")
