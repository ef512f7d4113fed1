"""Checkpoints: the whole state of a training run in one safetensors file. No pickle.

A state is a tree of dicts and lists with tensors, numbers, strings, booleans and None at its leaves. Tensors are stored
as tensors, named by their path; everything else as JSON in the file's metadata.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FORMAT = "sightline-checkpoint-1"
_TENSOR = "__tensor__"


def save_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """Writes the state. At any moment the file is either the old or the new one, complete."""
    tensors: dict[str, torch.Tensor] = {}
    tree = _take_tensors(state, "", tensors)
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        save_file(tensors, staging, metadata={"format": FORMAT, "state": json.dumps(tree)})
        with staging.open("rb") as stream:
            os.fsync(stream.fileno())
        staging.replace(file)
    finally:
        staging.unlink(missing_ok=True)


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Reads a checkpoint, with its tensors on the CPU.

    Raises:
        ValueError: the file is a safetensors file of something else.
    """
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(
                f"{file} is not a checkpoint of this version: its format is {metadata.get('format')!r}, not {FORMAT!r}."
            )
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no iterator
        state: dict[str, Any] = _give_tensors(json.loads(metadata["state"]), tensors)
        return state


def _take_tensors(node: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, torch.Tensor):
        # A copy, because safetensors refuses tensors that share memory; on the CPU, which every reader has.
        tensors[path] = node.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: path}
    if isinstance(node, dict):
        # Pairs keep an optimizer's integer keys, which JSON would turn into strings.
        return {"pairs": [[key, _take_tensors(value, f"{path}/{key}", tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return [_take_tensors(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"A checkpoint cannot hold a {type(node).__name__} (at {path or 'its root'}).")


def _give_tensors(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, list):
        return [_give_tensors(value, tensors) for value in node]
    if not isinstance(node, dict):
        return node
    if _TENSOR in node:
        return tensors[node[_TENSOR]]
    return {key: _give_tensors(value, tensors) for key, value in node["pairs"]}
