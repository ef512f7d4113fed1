"""Explanations: computed one at a time in a process of their own, which yields to the process that classifies."""
