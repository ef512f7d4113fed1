"""OpenVINO without its telemetry. Import OpenVINO through this function only."""

import sys
from typing import Any


def load_openvino() -> Any:
    """The module `openvino`.

    A plain import looks up an analytics host and writes to the home folder, in every process, unless OpenVINO's
    telemetry package cannot be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes an import fail
    import openvino

    return openvino
