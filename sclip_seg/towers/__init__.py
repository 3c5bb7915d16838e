"""Frozen networks and how their end is read: weights, trunk, trace, tail, guides."""
