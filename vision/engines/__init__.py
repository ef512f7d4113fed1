"""Engines: each runs a bundle's network on one kind of device."""
