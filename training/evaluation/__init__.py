"""Evaluates a network: metrics, calibration, report."""
