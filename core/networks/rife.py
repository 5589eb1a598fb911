# SPDX-License-Identifier: GPL-3.0-or-later
"""RIFE's IFNet (Huang et al., ECCV 2022), HDv3 3.6 and all 4.x: one network, made by its Layout.

Flow has four channels: from the output frame to frame 0 (x, y) and to frame 1, in pixels. The mask's logits are
those of the weight of frame 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rife_layout import Layout
from .sampling import resized, warp
from .tiling import in_pieces

LARGE_SCALE = 2
"""Scale up to which a block needs much memory; the others work on less than a tenth of the picture."""
RADIUS, BLOCK_STRIDE = 64, 4
"""How far a block looks in pixels of its input, and what its strides come to."""
BIG_FLOW = 32.0
"""Flow beyond which a network that restarts does so."""


@dataclass
class Motion:
    """What IFNet found for one moment: the flow to both frames, the mask's logits, and both after every block."""

    flow: Tensor
    mask: Tensor
    flows: list[Tensor]
    masks: list[Tensor]


Sides = tuple[Tensor, Tensor]
Step = tuple[Tensor, Tensor]
"""Flow and mask, with features behind it where there are some: a block's own, or all so far."""


class IFNet(nn.Module):
    """Coarse to fine: every block refines flow and mask from the frames, warped by the flow so far."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.pieces = 1
        """In which the large blocks work, where memory is short; the result stays the same."""
        for number, width in enumerate(layout.widths):
            self.add_module(f"block{number}", _block(layout, layout.channels(number), width))
        if layout.encoder:
            self.encode = _encoder(layout)

    @torch.no_grad()
    def fold(self) -> None:
        """Rewrite what can be computed before the first frame; for inference, in fp32, once."""
        for part in self.modules():
            if isinstance(part, _Residual):
                part.fold()

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are in."""
        return next(self.parameters()).dtype

    def features(self, frame: Tensor) -> Tensor | None:
        """The encoder's features of a padded frame (B, 3, H, W); None without an encoder. Once per frame."""
        if not self.layout.encoder:
            return None
        return self.encode(frame.to(self.dtype))

    def forward(
        self,
        frames: tuple[Tensor, Tensor],
        features: tuple[Tensor | None, Tensor | None],
        t: Tensor,
        scale: float = 1.0,
        ensemble: bool = False,
    ) -> Motion:
        """Motion at the times `t` (B, 1, 1, 1) between two padded frames (B, 3, H, W) in 0..1.

        `scale` is the flow scale: 0.5 looks for motion at half the size. Blocks compute in their weights' precision,
        flow and mask in fp32.
        """
        if self.layout.kind == "3.6":
            return self._middle(frames, scale)
        sides = _sides(frames, features)
        scales = [value / scale for value in self.layout.scales]
        so_far = self._step(0, sides, t, None, scales[0])
        if ensemble:
            so_far = self._averaged(so_far, 0, sides, t, None, scales[0])
        after = [so_far]
        for number in range(1, len(scales)):
            warped = _warped(sides, so_far[0])
            step = self._step(number, warped, t, so_far, scales[number])
            if number == 1 and self.layout.restarts and _is_big(step[0]):
                # one way even with the ensemble, as in the authors' code: averaging goes on behind this step
                scales = [2 * value for value in scales]
                so_far = self._step(0, sides, t, None, scales[0])
                after = [so_far]
                warped = _warped(sides, so_far[0])
                step = self._step(number, warped, t, so_far, scales[number])
            if ensemble:
                step = self._averaged(step, number, warped, t, so_far, scales[number])
            so_far = (so_far[0] + step[0], step[1] if self.layout.encoder else so_far[1] + step[1])
            after.append(so_far)
        return _motion(after)

    def _step(self, number: int, sides: Sides, t: Tensor | None, so_far: Step | None, scale: float) -> Step:
        """What block `number` makes of both sides, warped by the flow so far."""
        flow, mask = (None, None) if so_far is None else so_far
        return self._block(number, _shrunk(sides, t, mask, scale, self.dtype), flow, scale)

    def _averaged(
        self, step: Step, number: int, sides: Sides, t: Tensor | None, so_far: Step | None, scale: float
    ) -> Step:
        """A step, averaged with the one that the same block makes of the sides exchanged."""
        back = None if so_far is None else _turned(so_far)
        flow, mask = _turned(self._step(number, sides[::-1], None if t is None else 1 - t, back, scale))
        return (step[0] + flow) / 2, (step[1] + mask) / 2

    def _block(self, number: int, x: Tensor, flow: Tensor | None, scale: float) -> Step:
        """A block's step, at full size."""
        block = self._modules[f"block{number}"]
        assert isinstance(block, _Block)
        x = block.with_flow(x, flow, scale)
        if self.pieces == 1 or scale > LARGE_SCALE or not float(scale).is_integer():
            return block(x, scale)

        def both(piece: Tensor) -> Tensor:
            return torch.cat(block(piece, scale), dim=1)

        made = in_pieces(both, [x], self.pieces, RADIUS, BLOCK_STRIDE)
        return made[:, :4], made[:, 4:]

    def _middle(self, frames: tuple[Tensor, Tensor], scale: float) -> Motion:
        """3.6: every block runs in both directions; both start from nothing."""
        whole = (frames[0].shape[0], 5, *frames[0].shape[-2:])
        flow, mask = frames[0].new_zeros(whole, dtype=torch.float32).split([4, 1], dim=1)
        after = []
        for number, value in enumerate(self.layout.scales):
            warped, size = _warped(frames, flow), value / scale
            there = self._step(number, warped, None, (flow, mask), size)
            step, new = self._averaged(there, number, warped, None, (flow, mask), size)
            flow, mask = flow + step, mask + new
            after.append((flow, mask))
        return _motion(after)


def blended(images: tuple[Tensor, Tensor], motion: Motion) -> Tensor:
    """The frame that motion makes of two images (B, C, H, W); any channels, not only those that it was found in."""
    weight = torch.sigmoid(motion.mask)
    first, second = _warped(images, motion.flow)
    return first * weight + second * (1 - weight)


def _halves(flow: Tensor) -> tuple[Tensor, Tensor]:
    return flow[:, :2], flow[:, 2:4]


def _exchanged(flow: Tensor) -> Tensor:
    return torch.cat([flow[:, 2:4], flow[:, :2]], dim=1)


def _turned(step: Step) -> Step:
    """The same, seen from the other side."""
    return _exchanged(step[0]), -step[1]


def _warped(sides: Sides, flow: Tensor) -> Sides:
    first, second = (warp(side, part) for side, part in zip(sides, _halves(flow), strict=True))
    return first, second


def _motion(after: Sequence[Step]) -> Motion:
    """Of what there was after every block."""
    flows, masks = [flow for flow, _ in after], [mask[:, :1] for _, mask in after]
    return Motion(flows[-1], masks[-1], flows, masks)


def _sides(frames: tuple[Tensor, Tensor], features: tuple[Tensor | None, Tensor | None]) -> Sides:
    """Each frame with its features behind it, in fp32: warped together."""
    made = [
        frame.float() if coded is None else torch.cat([frame.float(), coded.float()], dim=1)
        for frame, coded in zip(frames, features, strict=True)
    ]
    return made[0], made[1]


def _shrunk(sides: Sides, t: Tensor | None, mask: Tensor | None, scale: float, kind: torch.dtype) -> Tensor:
    """A block's inputs but for the flow: both frames, both features, time, mask; shrunk before they are joined."""
    first, second = (resized(side, 1 / scale) for side in sides)
    parts = [first[:, :3], second[:, :3], first[:, 3:], second[:, 3:]]
    if t is not None:
        parts.append(t.to(first).expand(first.shape[0], 1, *first.shape[-2:]))
    if mask is not None:
        parts.append(resized(mask, 1 / scale))
    # cast one by one: half as much to copy
    return torch.cat([part.to(kind) for part in parts], dim=1)


def _is_big(step: Tensor) -> bool:
    return not step.is_meta and all(float(part.abs().max()) > BIG_FLOW for part in _halves(step))


class _Residual(nn.Module):
    """lrelu(conv(x) * beta + x)."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1, groups=groups)
        self.beta: nn.Parameter | None = nn.Parameter(torch.ones(1, width, 1, 1))

    def fold(self) -> None:
        """Make beta a part of the convolution, exactly: 6 % of RIFE 4.6's time in bfloat16."""
        assert self.conv.bias is not None
        assert self.beta is not None
        self.conv.weight.mul_(self.beta.view(-1, 1, 1, 1))
        self.conv.bias.mul_(self.beta.view(-1))
        self.beta = None

    def forward(self, x: Tensor) -> Tensor:
        found = self.conv(x) if self.beta is None else self.conv(x) * self.beta
        return F.leaky_relu(found + x, 0.2)


class _Block(nn.Module):
    """What all kinds share: shrink the inputs, halve twice, and bring flow and mask back to full size."""

    def __init__(self, channels: int, width: int, prelu: bool) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(
            _conv(channels, width // 2, 2, prelu),
            _conv(width // 2, width, 2, prelu),
        )

    @staticmethod
    def with_flow(x: Tensor, flow: Tensor | None, scale: float) -> Tensor:
        """All inputs: what `_shrunk` made, and the flow (at full size) shrunk likewise."""
        if flow is None:
            return x
        return torch.cat([x, (resized(flow, 1 / scale) / scale).to(x.dtype)], dim=1)

    def forward(self, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Step of the flow, and the mask, at full size, in fp32."""
        return self.head(self.conv0(x), scale)

    def head(self, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class _Block36(_Block):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, prelu=True)
        for number in range(4):
            group = nn.Sequential(_conv(width, width, 1, True), _conv(width, width, 1, True))
            self.add_module(f"convblock{number}", group)
        self.conv1, self.conv2 = (
            nn.Sequential(
                nn.ConvTranspose2d(width, width // 2, 4, 2, 1),
                nn.PReLU(width // 2),
                nn.ConvTranspose2d(width // 2, out, 4, 2, 1),
            )
            for out in (4, 1)
        )

    def head(self, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        for number in range(4):
            group = self._modules[f"convblock{number}"]
            assert group is not None
            x = group(x) + x
        return resized(self.conv1(x).float(), scale) * scale, resized(self.conv2(x).float(), scale)


class _Block40(_Block):
    def __init__(self, channels: int, width: int, prelu: bool) -> None:
        super().__init__(channels, width, prelu)
        self.convblock = nn.Sequential(*(_conv(width, width, 1, prelu) for _ in range(8)))
        self.lastconv = nn.ConvTranspose2d(width, 5, 4, 2, 1)
        self._residual = prelu
        """What enters the convolutions is added to what leaves them, in the versions that have PReLU."""

    def head(self, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        made = self.convblock(x) + x if self._residual else self.convblock(x)
        out = resized(self.lastconv(made).float(), 2 * scale)
        return out[:, :4] * (2 * scale), out[:, 4:5]


class _Block46(_Block):
    def __init__(self, channels: int, width: int, layout: Layout) -> None:
        super().__init__(channels, width, prelu=False)
        self.convblock = nn.Sequential(*(_Residual(width, layout.groups) for _ in range(8)))
        self.lastconv = nn.Sequential(nn.ConvTranspose2d(width, 4 * layout.outputs, 4, 2, 1), nn.PixelShuffle(2))
        self._features = layout.features

    def head(self, x: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        out = resized(self.lastconv(self.convblock(x)).float(), scale)
        return out[:, :4] * scale, out[:, 4 : 5 + self._features]


def _block(layout: Layout, channels: int, width: int) -> _Block:
    if layout.kind == "3.6":
        return _Block36(channels, width)
    if layout.kind == "4.0":
        return _Block40(channels, width, layout.prelu)
    return _Block46(channels, width, layout)


def _conv(channels: int, width: int, stride: int, prelu: bool) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1), nn.PReLU(width) if prelu else nn.LeakyReLU(0.2))


class _Encoder(nn.Module):
    def __init__(self, inner: int, out: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, inner, 3, 2, 1)
        self.cnn1 = nn.Conv2d(inner, inner, 3, 1, 1)
        self.cnn2 = nn.Conv2d(inner, inner, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(inner, out, 4, 2, 1)

    def forward(self, frame: Tensor) -> Tensor:
        x = frame
        for layer in (self.cnn0, self.cnn1, self.cnn2):
            x = F.leaky_relu(layer(x), 0.2)
        return self.cnn3(x)


def _encoder(layout: Layout) -> nn.Module:
    inner, out = layout.encoder
    if layout.encoder_names == "cnn":
        return _Encoder(inner, out)
    if layout.encoder_names == "pair":
        return nn.Sequential(nn.Conv2d(3, inner, 3, 2, 1), nn.ConvTranspose2d(inner, out, 4, 2, 1))
    return nn.Sequential(
        nn.Conv2d(3, inner, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(inner, inner, 3, 1, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(inner, inner, 3, 1, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(inner, out, 4, 2, 1),
    )  # fmt: skip
