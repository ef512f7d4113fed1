"""Measurements that a decision rests on; each names its decision in docs/adr/."""
