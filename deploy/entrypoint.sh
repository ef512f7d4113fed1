#!/bin/sh
# What the container runs: the service, with the models that are mounted, or with the demo where there are none.
set -eu
if [ -z "$(ls "$SIGHTLINE_MODELS_DIR" 2>/dev/null)" ]; then
	echo "No model in $SIGHTLINE_MODELS_DIR: serving the demo, which reads handwritten digits."
	export SIGHTLINE_MODELS_DIR=/opt/sightline/demo
fi
exec python -m service run
