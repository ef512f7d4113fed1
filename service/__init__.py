"""HTTP → bundle → HTTP. Imports `vision`, never `training`. Importing it does nothing.

The journey of a request, one module a stop: `admission` (read within limits, find the images in it) → `classifier`
(decode and preprocess in threads) → `batching` (wait for the engine, never longer than it is busy) → the engine →
`schemas`.
"""
