"""The toy world: drawn scenes with exact labels, and a tiny CLIP trained on them."""
