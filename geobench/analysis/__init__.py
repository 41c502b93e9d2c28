"""Analysis of a result: breakdowns by place, calibration."""
