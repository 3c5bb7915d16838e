"""Benchmarks brought under `data/`: downloaded, converted, verified, cut down for a trial."""
