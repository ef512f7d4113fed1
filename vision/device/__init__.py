"""Whole batches on an accelerator: decoded images of any size → logits.

Needs torch, NumPy and the standard library only, so that it can be measured on a machine with nothing else installed.
"""
