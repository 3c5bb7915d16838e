"""The report: measured scores beside published ones, from the result files of tools/test.py."""
