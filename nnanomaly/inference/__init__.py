"""Inference: healthy reconstruction, anomaly map, calibration, candidates; the predictor ties them to files."""
