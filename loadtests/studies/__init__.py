"""Measurements on which decisions rest; each names its decision in docs/adr/."""
