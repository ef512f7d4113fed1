"""What each command of `python -m training` does."""
