"""Archives the network for TorchServe's default image classifier and starts it in the foreground.

https://pytorch.org/serve/batch_inference_with_ts.html
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from network import MAX_BATCH_SIZE, load_network

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


def main(port: int) -> None:
    """Serves /predictions/network."""
    network, _, labels = load_network()
    arch = json.loads((Path(os.environ["BENCH_MODEL"]) / "network.json").read_text())["arch"]
    with tempfile.TemporaryDirectory(prefix="torchserve-") as name:
        folder = Path(name)
        import torch

        torch.save(network.state_dict(), folder / "network.pth")
        wrapper = folder / "model.py"
        kept, other = {"mobilenet_v2": ("MobileNet", "ResNet50"), "resnet50": ("ResNet50", "MobileNet")}[arch]
        source = (HERE / "model.py").read_text()
        start = source.index(f"class {other}")
        end = source.find("\nclass ", start)
        wrapper.write_text(
            source[:start] + (source[end:] if end > 0 else "")
        )  # the handler wants one class in the file
        assert kept in wrapper.read_text()  # noqa: S101
        (folder / "index_to_name.json").write_text(
            json.dumps({str(index): label for index, label in enumerate(labels)})
        )
        archive = [
            str(BIN / "torch-model-archiver"),
            "--model-name",
            "network",
            "--version",
            "1.0",
            "--handler",
            "image_classifier",
        ]
        parts = ["--model-file", str(wrapper), "--serialized-file", str(folder / "network.pth")]
        extra = ["--extra-files", str(folder / "index_to_name.json"), "--export-path", name]
        subprocess.run([*archive, *parts, *extra], check=True)
        model = {
            "defaultVersion": True,
            "marName": "network.mar",
            "minWorkers": 1,
            "maxWorkers": 1,
            "batchSize": MAX_BATCH_SIZE,
            "maxBatchDelay": 10,
            "responseTimeout": 120,
        }
        config = {
            "inference_address": f"http://127.0.0.1:{port}",
            "management_address": f"http://127.0.0.1:{port + 1}",
            "metrics_address": f"http://127.0.0.1:{port + 2}",
            "grpc_inference_port": port + 3,
            "grpc_management_port": port + 4,
            "max_request_size": 16 * 2**20,
            "job_queue_size": 1024,  # of 100 by default, those that left clients behind take a part
            "model_store": name,
            "load_models": "network.mar",
            "models": json.dumps({"network": {"1.0": model}}),
        }
        (folder / "config.properties").write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        command = [str(BIN / "torchserve"), "--start", "--foreground", "--disable-token-auth", "--ncs"]
        environment = os.environ | {"LOG_LOCATION": name, "METRICS_LOCATION": name}
        subprocess.run(
            [*command, "--ts-config", str(folder / "config.properties")], check=False, env=environment, cwd=name
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
