"""A grid of methods, datasets and backbones: its cells, their processes, the screen, the tables and the gate."""
