"""Ourselves, measured: parity with the official codes, speed, what a GPU makes of it."""
