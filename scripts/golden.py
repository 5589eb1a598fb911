# SPDX-License-Identifier: GPL-3.0-or-later
"""Known answers: networks with parameters by a rule, against vectors made from the official code.

scripts/check-golden DIR     every <name>.json with its <name>.npz; exit status 1 where one differs by more than it may,
                             2 where there is none
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from core.images import read
from core.networks import dain, pwcnet, rife, rife_layout, sampling, superslomo

Arrays = dict[str, Any]
OUT, FLOW, OPERATION = 1e-4, 1e-3, 1e-5
"""What the vectors' makers allow: of pictures in 0..1, of flow in pixels, of single operations."""


def value(name: str, shape: tuple[int, ...], branch: str, gain: float) -> Tensor:
    """The parameter of that name by the rule of the vectors' description."""
    if branch == "zero":
        return torch.zeros(shape, dtype=torch.int64)
    x = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    made = {
        "weight": lambda: gain * x / np.sqrt(np.prod(shape[1:])),
        "bias": lambda: 0.05 * x,
        "prelu": lambda: 0.25 + 0.05 * x,
        "beta": lambda: 1 + 0.1 * x,
        "bn_weight": lambda: 1 + 0.1 * x,
        "bn_bias": lambda: 0.1 * x,
        "bn_mean": lambda: 0.1 * x,
        "bn_var": lambda: 1 + 0.1 * np.abs(x),
    }[branch]()
    return torch.from_numpy(np.asarray(made, np.float32))


def parameters(told: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    """A whole checkpoint by the rule."""
    keys = told.get("keys") or json.loads((folder / told["keys_in"]).read_text())["keys"]
    gains = told["gain"]

    def gain(name: str) -> float:
        if not isinstance(gains, dict):
            return float(gains)
        return float(gains[max((prefix for prefix in gains if name.startswith(prefix)), key=len)])

    return {
        key["key"]: value(
            key["key"], tuple(key["shape"]), key["branch"], gain(key["key"]) if key["branch"] == "weight" else 1
        )
        for key in keys
    }


def frames(folder: Path) -> tuple[Tensor, Tensor]:
    """Both input pictures, (1, 3, H, W) in 0..1."""
    pictures = [read(folder / f"frame{number}.png") for number in (0, 1)]
    first, second = (
        torch.from_numpy(np.ascontiguousarray(one)).permute(2, 0, 1)[None].float() / 255 for one in pictures
    )
    return first, second


def rife_arrays(told: dict[str, Any], folder: Path) -> Iterator[tuple[str, Tensor, float]]:
    """Every array of an IFNet: its name without steps, what ours gives, what it may differ by."""
    state = parameters(told, folder)
    layout = rife_layout.layout_of({name: tuple(tensor.shape) for name, tensor in state.items()})
    assert layout is not None, "not recognised as an IFNet"
    net = rife.IFNet(layout).eval()
    net.load_state_dict(
        {name: tensor for name, tensor in state.items() if not name.startswith(rife_layout.TRAINING_ONLY)}
    )
    pair = frames(folder)
    height, width = pair[0].shape[-2:]
    scale = float(told["scale_option"])
    multiple = max(layout.multiple, int(layout.multiple / scale))
    padded = [F.pad(one, (0, -width % multiple, 0, -height % multiple)) for one in pair]
    features = [net.features(one) for one in padded]
    for number, feature in enumerate(features):
        if feature is not None:
            yield f"enc{number}", feature, OUT
    for t in told["timesteps"]:
        motion = net(tuple(padded), tuple(features), torch.full((1, 1, 1, 1), t), scale, bool(told["ensemble"]))
        at = f"t{t:.2f}"
        yield f"out_{at}", rife.blended((padded[0], padded[1]), motion)[..., :height, :width], OUT
        for number, (flow, mask) in enumerate(zip(motion.flows, motion.masks, strict=True)):
            yield f"flow_b{number}_{at}", flow, FLOW
            yield f"mask_b{number}_{at}", mask, FLOW


def superslomo_arrays(told: dict[str, Any], folder: Path) -> Iterator[tuple[str, Tensor, float]]:
    """Every array of Super SloMo."""
    state = parameters(told, folder)
    net = superslomo.SuperSloMo().eval()
    for prefix, part in (("state_dictFC.", net.flowComp), ("state_dictAT.", net.ArbTimeFlowIntrp)):
        part.load_state_dict({name[len(prefix) :]: tensor for name, tensor in state.items() if name.startswith(prefix)})
    mean = torch.tensor(superslomo.MEAN).view(1, 3, 1, 1)
    first, second = (one - mean for one in frames(folder))
    flows = net.flows(first, second)
    yield "F_0_1", flows[0], FLOW
    yield "F_1_0", flows[1], FLOW
    for time in told["timesteps"]:
        t, at = torch.full((1, 1, 1, 1), time), f"t{time:.2f}"
        found = net.between(first, second, flows, t)
        yield f"out_{at}", net.blended(first, second, found, t) + mean, OUT
        for name, array in (
            ("F_t_0", found.combined[0]), ("F_t_1", found.combined[1]), ("g_I0", found.warped[0]),
            ("g_I1", found.warped[1]), ("intrp", found.raw), ("F_t_0_f", found.flow0), ("F_t_1_f", found.flow1),
            ("V_t_0", found.visible),
        ):  # fmt: skip
            yield f"{name}_{at}", array, FLOW


def dain_arrays(told: dict[str, Any], folder: Path) -> Iterator[tuple[str, Tensor, float]]:
    """Every array of DAIN. A negative limit: single values may jump where a position crosses a whole pixel."""
    net = dain.DAIN().eval()
    net.load_state_dict(parameters(told, folder))
    first, second = frames(folder)
    height, width = first.shape[-2:]
    left, right, top, bottom = dain.padding(width, height)
    pair = [F.pad(one, (left, right, top, bottom), mode="replicate") for one in (first, second)]
    state = net.prepare(*pair)
    for direction, frames_of in (("01", pair), ("10", pair[::-1])):
        flow, guesses = net.flownets(*frames_of)
        yield f"pwc_flow2_{direction}", flow, OUT
        for level, guess in guesses.items():
            yield f"pwc_predict{level}_{direction}", guess, OUT
    for number in (0, 1):
        yield f"log_depth_{number}", state.depths[number], OUT
        yield f"filter_{number}", state.filters[number], OUT
    yield "ctx_0", net.context(state, 0), OUT
    for time in told["timesteps"]:
        at, made = f"t{time:.2f}", net.at(state, time)
        inside = (..., slice(top, top + height), slice(left, left + width))
        yield f"out_{at}", net.rectified(state, made)[inside], -OUT
        yield f"out_unrectified_{at}", made.blend[inside], -OUT
        yield f"rectify_input_{at}", net.rectify_input(state, made), -FLOW
        for number, name in ((0, "ref0"), (1, "ref2")):
            yield f"{name}_{at}", made.warped[number], -OUT
            yield f"proj_flow_{number}_{at}", made.projected[number], -FLOW
            bits = np.packbits((made.counts[number] <= 0).numpy().ravel())
            yield f"hole_mask_{at}_{number}", torch.from_numpy(bits), -0.5


def operations(folder: Path) -> Iterator[tuple[str, str, Tensor, float]]:
    """Every single operation of the files *_ops.npz: file, array, ours, what it may differ by."""

    def given(known: Any, name: str) -> Tensor:
        return torch.from_numpy(known[name])

    if (folder / "dain_ops.npz").exists():
        known = np.load(folder / "dain_ops.npz")
        yield "dain_ops", "corr_out", pwcnet.correlation(given(known, "corr_in1"), given(known, "corr_in2")), OPERATION
        mean, count = dain.project(given(known, "dfp_flow"), given(known, "dfp_weight"))
        yield "dain_ops", "dfp_out_nofill", mean, OPERATION
        yield "dain_ops", "dfp_count", count, OPERATION
        yield "dain_ops", "dfp_out_fill", dain.filled(mean, count), OPERATION
        constant = dain.project(given(known, "dfp_const_flow"), given(known, "dfp_weight"))
        yield "dain_ops", "dfp_const_out", dain.filled(*constant), OPERATION
        taken = (given(known, name) for name in ("fi_img", "fi_flow", "fi_filter"))
        yield "dain_ops", "fi_out", dain.filtered(*taken), OPERATION
        moved = pwcnet.masked_warp(given(known, "pwcwarp_in"), given(known, "pwcwarp_flow"))
        yield "dain_ops", "pwcwarp_out", moved, OPERATION
    if (folder / "warp_ops.npz").exists():
        known = np.load(folder / "warp_ops.npz")
        image, flow = given(known, "image"), given(known, "flow")
        yield "warp_ops", "rife_warp", sampling.warp(image, flow), OPERATION
        yield "warp_ops", "superslomo_backwarp_align_corners_true", superslomo.backwarp(image, flow), OPERATION
        for name, factor in (
            ("down2", 1 / 2),
            ("down4", 1 / 4),
            ("down8", 1 / 8),
            ("down16", 1 / 16),
            ("up2", 2),
            ("up4", 4),
        ):
            yield "warp_ops", f"resize_{name}", sampling.resized(given(known, "resize_in"), factor), OPERATION
        shuffled = F.pixel_shuffle(given(known, "pixelshuffle_in"), 2)
        yield "warp_ops", "pixelshuffle2_out", shuffled, OPERATION


def compared(folder: Path, name: str, arrays: Iterator[tuple[str, Tensor, float]]) -> list[str]:
    """Compare what is there under a name with ours; prints a line for each, returns those that differ too much."""
    known = np.load(folder / f"{name}.npz")
    left, wrong = set(known.files), []
    for array, ours, allowed in arrays:
        for key in [key for key in known.files if key == array or key.startswith(f"{array}_s")]:
            step = int(key[len(array) + 2 :]) if key != array else 1
            sampled = (ours[0, :, ::step, ::step] if ours.ndim == 4 else ours).detach().numpy()
            left.discard(key)
            right = sampled.shape == known[key].shape
            differences = np.abs(sampled.astype(float) - known[key]) if right else np.array([np.inf])
            if allowed < 0:  # single values may jump
                right = float((differences <= -allowed).mean()) >= 0.97 and float(differences.mean()) <= -5 * allowed
            else:
                right = float(differences.max()) <= allowed
            verdict = f"of {abs(allowed):.0e}{'' if right else '   WRONG'}"
            print(f"{name:20} {key:36} max {differences.max():.1e} mean {differences.mean():.1e} {verdict}")
            if not right:
                wrong.append(f"{name} {key}")
    for key in sorted(left):
        print(f"{name:24} {key:40} not compared")
    return wrong


MAKERS: dict[str, Callable[[dict[str, Any], Path], Iterator[tuple[str, Tensor, float]]]] = {
    "rife": rife_arrays,
    "superslomo": superslomo_arrays,
    "dain": dain_arrays,
}


def main() -> int:
    """See the module's text."""
    folder = Path(sys.argv[1])
    wrong: list[str] = []
    if not any(path.with_suffix(".json").exists() or path.stem.endswith("_ops") for path in folder.glob("*.npz")):
        print(f"{folder} holds no vectors (<name>.json with <name>.npz): name the folder that does.", file=sys.stderr)
        return 2
    with torch.inference_mode():
        for path in sorted(folder.glob("*.json")):
            told = json.loads(path.read_text())
            maker = next((make for prefix, make in MAKERS.items() if path.stem.startswith(prefix)), None)
            if maker is None:
                print(f"{path.stem:24} nothing here computes this network")
                wrong.append(path.stem)
                continue
            wrong += compared(folder, path.stem, maker(told, folder))
        for file, name, ours, allowed in operations(folder):
            worst = float(np.abs(ours.numpy() - np.load(folder / f"{file}.npz")[name]).max())
            print(f"{file:20} {name:36} max {worst:.1e} of {allowed:.0e}{'' if worst <= allowed else '   WRONG'}")
            wrong += [] if worst <= allowed else [f"{file} {name}"]
    print(f"{len(wrong)} wrong" + (": " + ", ".join(wrong) if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
