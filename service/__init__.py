"""HTTP → bundle → HTTP. Imports `vision`, never `training`. Importing it does nothing.

A request passes these modules: `http.classify` (the route), `http.admission` (reads the body within limits),
`http.forms` (finds the images), `model.batching` (waits for an idle worker), `model.classifier` (the worker decodes,
preprocesses and infers).
"""
