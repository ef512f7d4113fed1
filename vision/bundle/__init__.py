"""The bundle: training's only product and serving's only input; see `manifest`, `store` and `golden`."""
