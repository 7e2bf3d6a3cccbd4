"""Inference: healthy reconstruction, anomaly map, calibration, candidates, and the predictor that ties them to files."""
