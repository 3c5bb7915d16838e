"""What CLIPer's released configs set, by benchmark."""

# CLIPer's thresholds of classes and of values, and its templates.
CLIPER = {
    "voc21": (0.7, 0.6, "scenes15"),
    "voc20": (0, 0.001, "scenes15"),
    "context60": (0.45, 0.45, "scenes15"),
    "context59": (0.3, 0.3, "scenes15"),
    "coco_object": (0.3, 0.3, "imagenet80"),
    "coco_stuff164k": (0.1, 0.1, "scenes15"),
    "cityscapes": (0, 0.0001, "imagenet80"),
    "ade20k": (0.3, 0.3, "scenes15"),
}
# The same of ViT-L/14, after τ, θ and the selected input.
CLIPER_L14 = {
    "voc21": (50, 0.1, -2, 0.5, 0.4, "scenes15"),
    "voc20": (70, 0.2, -1, 0.1, 0.0001, "scenes15"),
    "context60": (50, 0.2, -2, 0.3, 0.3, "imagenet80"),
    "context59": (100, 0.2, -2, 0.45, 0.45, "scenes15"),
    "coco_object": (50, 0.1, -2, 0.5, 0.5, "imagenet80"),
    "coco_stuff164k": (50, 0.2, -2, 0.2, 0.2, "imagenet80"),
    "cityscapes": (100, 0.35, -1, 0, 0.0001, "scenes15"),
    "ade20k": (50, 0.2, -1, 0.2, 0.2, "imagenet80"),
}
