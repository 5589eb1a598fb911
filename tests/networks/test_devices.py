# SPDX-License-Identifier: GPL-3.0-or-later
"""Every engine on a graphics card that is not there: PyTorch's fake tensors know device, type and shape, not values.

A tensor that an engine leaves on the processor, or in another precision than its neighbours, fails here as it would on
the card. What the card computes is what `scripts/bench gpu` compares.
"""

from __future__ import annotations

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
from core.networks import checkpoints, rife
from core.networks.checkpoints import Checkpoint
from core.networks.lento_pure import PureLento
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
    save_file(PureLento().state_dict(), folder / "lento_pure.safetensors")
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
@pytest.mark.parametrize("name", [*LAYOUTS, "superslomo", "superslomo_light", "dain", "lento", "lento_pure"])
def test_all_is_computed_on_the_card(name: str, precision: str, files: Path, card: Card) -> None:
    weights = "" if name == "lento" else str(next(files.glob(f"{name}.*")))
    frames = [Frame(index, picture) for index, picture in enumerate(pictures())]
    times = (0.25, 0.5, 0.75)
    with card:
        card.entered = True
        engine = create("rife" if name in LAYOUTS else name.removesuffix("_pure"), Settings(weights, "card", precision))
        state = engine.prepare(*frames, times)
        for t in times:
            assert engine.synthesize(state, t).shape == frames[0].pixels.shape
    assert CARD in card.fetched_from
