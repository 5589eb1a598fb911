# SPDX-License-Identifier: GPL-3.0-or-later
"""Every engine on a graphics card that is not there: PyTorch's fake tensors know device, type and shape, not values.

A tensor that an engine leaves on the processor, or in another precision than its neighbours, fails here as it would on
the card. What the card computes is what `scripts/bench gpu` compares.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from core.engines import Frame, Settings, create, network, superslomo
from core.networks import checkpoints, rife, sampling
from core.networks.checkpoints import Checkpoint
from core.networks.lento import LentoNet
from core.networks.rife import IFNet
from scripts.made_weights import LAYOUTS, checkpoint_of, pictures

_setup_privateuseone_for_python_backend("card")
CARD = torch.device("card:0")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of every network."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in (*LAYOUTS, "superslomo", "superslomo_light", "dain"):
        torch.save(checkpoint_of(name), folder / f"{name}.pkl")
    save_file(LentoNet().state_dict(), folder / "lento.safetensors")
    return folder


class Card(FakeTensorMode):
    """Tensors with a device, and without values; knows which devices results were fetched from."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched_from: set[torch.device] = set()
        self.entered = False


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    """A card with 80 GB that engines take for theirs, while it is entered."""
    card = Card()
    real = {name: getattr(torch, name) for name in ("tensor", "from_numpy")}
    load, read, cpu = Checkpoint.load, checkpoints.read, torch.Tensor.cpu

    def put(tensor: torch.Tensor, device: torch.device | None, dtype: torch.dtype | None = None) -> torch.Tensor:
        fake = tensor if isinstance(tensor, FakeTensor) else card.from_tensor(tensor)
        return fake.to(device, dtype if fake.is_floating_point() else None)

    def without_values(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*inputs: Any, device: torch.device | None = None, **more: Any) -> torch.Tensor:
            if not card.entered:
                return make(*inputs, device=device, **more) if device else make(*inputs, **more)
            with unset_fake_temporarily():
                tensor = make(*inputs, **more)
            return put(tensor, device)

        return made

    def to(
        module: nn.Module, device: torch.device | None = None, dtype: torch.dtype | None = None, **_: Any
    ) -> nn.Module:
        for part in module.modules() if device else ():
            for kept in (part._parameters, part._buffers):
                kept.update({name: put(tensor, device, dtype) for name, tensor in kept.items() if tensor is not None})
        return module

    def fetched(tensor: torch.Tensor) -> torch.Tensor:
        card.fetched_from.add(tensor.device)
        return cpu(tensor)

    def numpy(tensor: torch.Tensor) -> np.ndarray:
        assert tensor.device.type == "cpu", "only the host's memory can be read"
        assert tensor.dtype == torch.float32
        return np.zeros(tuple(tensor.shape), np.float32)

    def really(do: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def done(subject: Any) -> Any:
            card.entered, before = False, card.entered
            with unset_fake_temporarily():
                result = do(subject)
            card.entered = before
            return result

        return done

    for name, make in real.items():
        monkeypatch.setattr(torch, name, without_values(make))
    monkeypatch.setattr(
        torch.Tensor, "new_tensor", lambda near, values: put(real["tensor"](values), near.device, near.dtype)
    )
    monkeypatch.setattr(IFNet, "fold", really(IFNet.fold))
    monkeypatch.setattr(rife, "_is_big", lambda *_: False)  # these two look at values
    monkeypatch.setattr(superslomo, "positions_by_size", lambda *_: True)
    monkeypatch.setattr(Checkpoint, "load", really(load))
    monkeypatch.setattr(checkpoints, "read", really(read))
    monkeypatch.setattr(nn.Module, "to", to)
    monkeypatch.setattr(torch.Tensor, "cpu", fetched)
    monkeypatch.setattr(torch.Tensor, "numpy", numpy)
    monkeypatch.setattr(network, "device_of", lambda wanted: CARD)
    monkeypatch.setattr(network, "free_memory", lambda device: 80 << 30)
    monkeypatch.setattr(network, "precision_of", lambda wanted, device: wanted)
    return card


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("name", [*LAYOUTS, "superslomo", "superslomo_light", "dain", "lento"])
def test_all_is_computed_on_the_card(name: str, precision: str, files: Path, card: Card) -> None:
    weights = str(next(files.glob(f"{name}.*")))
    frames = [Frame(index, picture) for index, picture in enumerate(pictures())]
    times = (0.25, 0.5, 0.75)
    with card:
        card.entered = True
        engine = create("rife" if name in LAYOUTS else name, Settings(weights, "card", precision))
        state = engine.prepare(*frames, times)
        for t in times:
            assert engine.synthesize(state, t).shape == frames[0].pixels.shape
    assert CARD in card.fetched_from


def test_fp32_is_fp32_and_the_same_every_time(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for flag, wrong in (("allow_tf32", True), ("deterministic", False), ("benchmark", True)):
        monkeypatch.setattr(torch.backends.cudnn, flag, wrong)
    create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32"))
    assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


def test_sums_in_order_are_the_sums() -> None:
    torch.manual_seed(0)
    values, index = torch.rand(2, 3, 500), torch.randint(0, 40, (2, 500))
    expected = torch.stack([torch.stack([values[b][:, index[b] == n].sum(1) for n in range(40)], 1) for b in (0, 1)])
    assert torch.allclose(sampling.summed(values, index, 40), expected, atol=1e-5)
    assert torch.allclose(sampling._summed_in_order(values, index, 40), expected, atol=1e-5)


def test_an_attempt_gives_its_memory_back_before_the_next(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32"))
    large: list[weakref.ref[torch.Tensor]] = []
    real = engine.at  # type: ignore[attr-defined]

    def short(state: object, t: float) -> np.ndarray:
        if large:
            return real(state, t)
        taken = torch.zeros(8)
        large.append(weakref.ref(taken))
        raise RuntimeError("GET was unable to find an engine to execute this computation")

    def smaller(by: int) -> str:
        assert large[0]() is None
        return "smaller."

    monkeypatch.setattr(engine, "at", short)
    monkeypatch.setattr(engine, "_smaller_pieces", smaller)
    engine.synthesize(engine.prepare(*(Frame(index, picture) for index, picture in enumerate(pictures()))), 0.5)
    assert large


@pytest.mark.parametrize(("size", "together"), [((1920, 1080), 8), ((3840, 2160), 4), ((7680, 4320), 1)])
def test_no_more_are_made_together_than_can_be_counted(
    size: tuple[int, int], together: int, files: Path, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "free_memory", lambda device: 10**13)
    frame = Frame(0, np.broadcast_to(np.float32(0), (size[1], size[0], 3)))
    with card:
        card.entered = True
        engine = create("superslomo", Settings(str(files / "superslomo.pkl"), "card", "fp16"))
        engine.prepare(frame, frame)
    assert engine.together == together  # type: ignore[attr-defined]


def test_memory_that_pytorch_keeps_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 300)
    assert network.free_memory(torch.device("cuda")) == 1400
