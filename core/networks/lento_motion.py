# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled network's motion of a pair, from coarse to fine.

By the same weights at every level of a pyramid (Jin et al., "UPR-Net", CVPR 2023), from local correlation (Sun et al.,
"PWC-Net", CVPR 2018): larger pictures get more levels, not other weights. Flow is in pixels, x to the right, y down,
from a frame's pixels to where they are in the other one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sampling import averaged, resized, warp

FEATURES, MATCHED = 40, 16
"""Channels of a frame at a quarter of its size: in all, and those that are compared."""
WIDTH, DEEP, OUT, HIDDEN = 64, 80, 48, 24
"""Channels of what refines the motion: at a quarter, at an eighth, at its end, and what it tells the next level."""
REACH = 3
"""Pixels of a level's features, a quarter of its picture, within which motion is looked for."""
RUN = 16
"""Pixels of a line that are compared together on a card."""
COARSEST = 32
"""Pixels of the shorter side at the coarsest level, at the least; less than twice that."""
SHRINK = 4
"""How much smaller than its picture a level's features are."""
WINDOW = 5
"""Pixels over which it is judged which of two motions fits."""
MOTION_SCALE = 1 / 16
"""What motion is multiplied with in inputs."""
SLOPE = 0.1


def convolution(channels: int, out: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """A convolution that keeps the size, or divides it by `stride`, and a leaky ReLU."""
    return nn.Sequential(nn.Conv2d(channels, out, size, stride, size // 2), nn.LeakyReLU(SLOPE))


class Mended(nn.Module):
    """A convolution that adds to what it gets."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) -> the same."""
        return F.leaky_relu(x + self.conv(x), SLOPE)


def doubled(x: Tensor, like: Tensor) -> Tensor:
    """Twice as large, without what is beyond `like`."""
    return F.interpolate(x, scale_factor=2, mode="nearest")[..., : like.shape[-2], : like.shape[-1]]


def correlation(one: Tensor, other: Tensor, reach: int = REACH) -> Tensor:
    """Mean products of features (B, C, h, w) with those up to `reach` pixels away: (B, (2 reach + 1)^2, h, w)."""
    plain = one.device.type == "cpu" and not (torch.is_grad_enabled() and (one.requires_grad or other.requires_grad))
    return (_one_by_one if plain else _by_runs)(one, other, reach)


def _one_by_one(one: Tensor, other: Tensor, reach: int) -> Tensor:
    """With no more products than there have to be, a channel at a time: a processor reads planes in their order.

    Gradients of it take long: each would be as large as all windows, once a channel.
    """
    height, width = one.shape[-2:]
    exact = torch.promote_types(one.dtype, torch.float32)
    here, wide = (image.to(exact).contiguous() for image in (one, F.pad(other, (reach,) * 4)))
    near = wide.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, side, side, h, w)
    total = here[:, 0, None, None] * near[:, 0]
    for channel in range(1, one.shape[1]):
        total.addcmul_(here[:, channel, None, None], near[:, channel])
    return (total / one.shape[1]).flatten(1, 2).to(one.dtype)


def _by_runs(one: Tensor, other: Tensor, reach: int) -> Tensor:
    """As products of matrices: a run of pixels with all that any of them is to be compared with.

    More than three times the products, but in a few steps, which is how a card likes them, and gradients, too.
    """
    batch, channels, height, width = one.shape
    side, span = 2 * reach + 1, -(-(RUN + 2 * reach) // 8) * 8  # memory is read eight numbers at a time
    runs = -(-width // RUN)
    spare = runs * RUN - width
    here = F.pad(one, (0, spare)).view(batch, channels, height, runs, RUN).permute(0, 2, 3, 4, 1)
    wide = F.pad(other, (reach, spare + span - RUN - reach, reach, reach))
    around = wide.unfold(2, side, 1).unfold(3, span, RUN).permute(0, 2, 3, 1, 4, 5)
    products = torch.bmm(here.reshape(-1, RUN, channels), around.reshape(-1, channels, side * span))
    products = products.view(-1, RUN, side, span).transpose(1, 2).flatten(2)
    # read in lines that are longer by one, the first `side` of each line are those of one pixel
    lines = F.pad(products, (0, RUN)).view(batch, height, runs, side, RUN, span + 1)[..., :side]
    near = lines.permute(0, 3, 5, 1, 2, 4).reshape(batch, side * side, height, runs * RUN)
    return near[..., :width] / channels


class Encoder(nn.Module):
    """A picture -> features at a quarter of its size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(convolution(3, 24, 2), convolution(24, FEATURES, 2), Mended(FEATURES))

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, h, w) around 0 -> (B, FEATURES, h/4, w/4)."""
        return self.layers(picture)


class Refinement(nn.Module):
    """What is known of a level's motion -> a step towards the true one."""

    def __init__(self) -> None:
        super().__init__()
        self.match = nn.Conv2d(FEATURES, MATCHED, 1)
        known = 2 * FEATURES + (2 * REACH + 1) ** 2 + HIDDEN + 5
        self.enter = convolution(known, WIDTH, size=1)
        self.down = nn.Sequential(convolution(WIDTH, DEEP, 2), Mended(DEEP), Mended(DEEP))
        self.up = nn.Conv2d(DEEP, WIDTH, 1)
        self.out = convolution(WIDTH, OUT)
        self.leave = nn.Conv2d(OUT, 3, 3, 1, 1)

    def forward(self, features: Tensor, there: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, FEATURES, h, w) of a frame and of the other one along the motion, and what else is known.

        Returns the step (B, 2, h, w) and the logarithm of the trust (B, 1, h, w) in fp32, and what to tell the next
        level (B, HIDDEN, h, w).
        """
        near = correlation(_even(self.match(features)), _even(self.match(there)))
        x = self.enter(torch.cat([features, there, near, known.to(features.dtype)], dim=1))
        x = self.out(F.leaky_relu(x + doubled(self.up(self.down(x)), x), SLOPE))
        return self.leave(x).float(), x[:, :HIDDEN]


def _even(features: Tensor) -> Tensor:
    """Of mean square 1 at every pixel."""
    return features * torch.rsqrt(features.float().square().mean(1, keepdim=True) + 1e-4).to(features.dtype)


class Motion(nn.Module):
    """Two frames -> motion of either to the other at a quarter of the size, and the logarithm of its trust."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.refine = Encoder(), Refinement()

    def forward(
        self, frames: Tensor, small: Tensor, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Frames (2B, 3, H, W) in 0..1, all first ones before all last ones, and the same at half the size.

        Sides are multiples of 4.

        `known` (2B, 2, H/4, W/4) is a motion that something else found, in pixels of that size: wherever the frames are
        more alike along it, the finest level begins with it instead of the pyramid's, and it stays as it is instead of
        what that level makes of it. NaN: nothing was found.

        Returns the features (2B, FEATURES, H/4, W/4), the motion (2B, 2, H/4, W/4) in pixels of that size, the
        logarithm of its trust (2B, 1, H/4, W/4), and what every level found, from coarse to fine.
        """
        pictures, smaller = [frames], small
        for _ in range(levels_of(*frames.shape[-2:]) - 1):
            pictures.append(whole(smaller, SHRINK))
            smaller = F.avg_pool2d(pictures[-1], 2)
        motions: list[Tensor] = []
        features = hidden = trust = None
        for picture in reversed(pictures):
            kind = next(self.parameters()).dtype
            features = self.encode((picture - 0.5).to(kind))
            count, _, height, width = features.shape
            if hidden is None or trust is None:
                flow = torch.zeros(count, 2, height, width, device=features.device)
                trust = torch.zeros(count, 1, height, width, device=features.device)
                hidden = features.new_zeros(count, HIDDEN, height, width)
            else:
                flow = (resized(motions[-1], 2) * 2)[..., :height, :width]
                trust, hidden = (resized(one, 2)[..., :height, :width] for one in (trust, hidden))
            if known is not None and picture is frames:
                flow = _nearer(F.avg_pool2d(small, 2), flow, known)
            # the other frame's, along the motion: its features, and its own motion, which ought to lead back
            others = torch.cat([features.float(), flow], dim=1).roll(count // 2, 0)
            there, back = warp(others, flow).split([FEATURES, 2], dim=1)
            so_far = torch.cat([MOTION_SCALE * flow, flow + back, trust, hidden.float()], dim=1)
            step, hidden = self.refine(features, there.to(features.dtype), so_far)
            motions.append(flow + step[:, :2])
            trust = step[:, 2:]
        assert features is not None
        assert trust is not None
        motion = motions[-1] if known is None else _nearer(small, motions[-1], known)
        return features, motion, trust, motions


def _nearer(frames: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Of two motions, at every pixel the one along which the frames, as large or larger, are more alike around it.

    The first, where the other is NaN.
    """
    other = torch.where(other.isnan(), one, other)
    there, finer = frames.roll(len(frames) // 2, 0), frames.shape[-1] // one.shape[-1]

    def gap(flow: Tensor) -> Tensor:
        difference = (warp(there, resized(flow, finer) * finer) - frames).abs().mean(1, keepdim=True)
        around = averaged(difference, WINDOW)
        return F.avg_pool2d(around, finer) if finer > 1 else around

    return torch.where(gap(one) < gap(other), one, other)


def levels_of(height: int, width: int) -> int:
    """Levels of the pyramid for a picture."""
    levels = 1
    while min(height, width) >> levels >= COARSEST:
        levels += 1
    return levels


def whole(image: Tensor, multiple: int) -> Tensor:
    """`image` with its border repeated to the right and below, so that its sides are multiples."""
    height, width = image.shape[-2:]
    if height % multiple == 0 and width % multiple == 0:
        return image
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
