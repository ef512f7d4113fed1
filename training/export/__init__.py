"""Turns a trained network into a bundle with sample images and their expected answers."""
