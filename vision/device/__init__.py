"""Whole batches on an accelerator: images of any size go up as they are, and come back as logits.

Needs torch, NumPy and the standard library only, so that it can be measured where nothing else is installed.
"""
