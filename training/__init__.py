"""Labelled images → bundle. Imports `vision`, never `service`. Importing it does nothing."""
