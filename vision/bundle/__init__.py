"""The bundle: training's only product and serving's only input. A folder that proves itself; see `manifest`, `store` and `golden`."""
