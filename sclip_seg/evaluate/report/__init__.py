"""The report: measured scores beside published ones, from the result files of sclip-seg test."""
