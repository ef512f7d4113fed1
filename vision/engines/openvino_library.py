"""OpenVINO without its telemetry. Everything here that needs OpenVINO gets it from this function, never by an import of its own."""

import sys
from typing import Any


def load_openvino() -> Any:
    """The module `openvino`.

    Importing it plainly looks up an analytics host and writes to the home folder, in every process. It does without where
    its telemetry package cannot be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes an import fail
    import openvino

    return openvino
