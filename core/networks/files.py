# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of tensors, read without running anything in them; a sentence for what is none."""

from __future__ import annotations

import datetime
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..messages import InputError

Tensors = dict[str, Tensor]

WRAPPERS = ("state_dict", "model", "model_state_dict", "params", "params_ema", "net", "flownet", "checkpoint")
"""Names under which training code may put a network's tensors."""
PARTS = {"state_dictFC": "flowComp.", "state_dictAT": "ArbTimeFlowIntrp."}
"""Those under which Super SloMo's has its two networks, and their modules' names."""
DEEPEST = 4
"""Such names inside of each other."""
SUFFIXES = (".pkl", ".pth", ".ckpt", ".pt", ".safetensors")


def read(path: Path) -> Tensors:
    """The tensors of a file by name, without `module.` before it; Super SloMo's two parts under their modules' names.

    Raises InputError where the file is none, is damaged, or wants to run code.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"The weights {path} cannot be read ({error.strerror}): choose the file again.") from error
    if reason := _no_checkpoint(path, head, size):
        raise InputError(f"{path} is no checkpoint: {reason}")
    try:
        if _is_safetensors(head, size):
            from safetensors.torch import load_file

            found: Any = load_file(str(path))
        else:
            # Super SloMo's authors save the time of day beside the tensors
            with torch.serialization.safe_globals([datetime.datetime]):
                found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not (code := _wants_to_run(str(error))):
            raise InputError(f"{path} is damaged or not complete: get it again.") from error
        raise InputError(
            f"{path} wants to run code when it is opened ({code}), which is refused. Get the file that holds only "
            "tensors (a state_dict)."
        ) from error
    except Exception as error:  # every library has its own for a damaged file
        raise InputError(f"{path} is damaged or not complete ({_short(error)}): get it again.") from error
    tensors = _named(found, DEEPEST)
    if not tensors:
        raise InputError(f"{path} holds no tensors by name, but a {type(found).__name__}: choose a checkpoint.")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise InputError(
                f"{path} holds {name} sparse or quantised, as no authors' file does: get the file that they publish."
            )
    return tensors


def _named(found: Any, deepest: int) -> Tensors:
    """The tensors by name, wherever training code put them; empty where there are none."""
    if not isinstance(found, Mapping) or not deepest:
        return {}
    if all(part in found for part in PARTS):
        parts = {prefix: _named(found[part], deepest - 1) for part, prefix in PARTS.items()}
        return {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}
    for wrapper in WRAPPERS:
        if inner := _named(found.get(wrapper), deepest - 1):
            return inner
    return {str(name).removeprefix("module."): one for name, one in found.items() if isinstance(one, Tensor)}


def _no_checkpoint(path: Path, head: bytes, size: int) -> str:
    """What a file that cannot be a checkpoint seems to be; empty where it may be one."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if size == 0:
        return "it is empty. Get it again."
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<!--")):
        return (
            "it is a web page, as a failed download leaves one. Open its address in a browser and save the file itself."
        )
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, which only says where the file is. Get the file itself (git lfs pull)."
    if head.startswith(b"PK\x03\x04"):
        return _other_archive(path)
    if not head.startswith(b"\x80") and not _is_safetensors(head, size):
        text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:200])
        kind = "it is a text file." if text else "its beginning is that of none."
        return f"{kind} Choose the .pkl, .pth, .ckpt, .pt or .safetensors file that the authors publish."
    return ""


def _other_archive(path: Path) -> str:
    """What a zip archive is that torch.save did not write; empty for one that it did, and for a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return ""
    if any(name.endswith("/constants.pkl") for name in names):
        return "it is a program (TorchScript), which is not run. Get the file that holds only tensors (a state_dict)."
    if any(name.endswith("/data.pkl") for name in names):
        return ""
    inside = next((name for name in names if name.endswith(SUFFIXES)), "")
    return f"it is an archive. Unpack it and choose {inside or 'the checkpoint'} in it."


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 0 < length < max(size, 100_000_000)


def _wants_to_run(refusal: str) -> str:
    """What a pickle wanted to call, by PyTorch's refusal of it; empty where it is only damaged."""
    if named := re.search(r"GLOBAL ([\w.]+)", refusal):
        return named[1]
    # pickles of other protocols begin objects in ways that PyTorch does not follow
    return "by a form of pickle that PyTorch does not read" if "nsupported" in refusal else ""


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
