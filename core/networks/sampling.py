# SPDX-License-Identifier: GPL-3.0-or-later
"""Backward warps, resizing, means around pixels, sums by place.

Grids are always fp32: in half precision they are off by pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Where every pixel's flow (B, 2, H, W; x right, y down, in pixels) leads: columns and rows, (B, H, W) in fp32."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=torch.float32)
    y = torch.arange(height, device=flow.device, dtype=torch.float32)
    return x[None, None, :] + flow[:, 0].float(), y[None, :, None] + flow[:, 1].float()


def warp(image: Tensor, flow: Tensor, padding: str = "border") -> Tensor:
    """`image` (B, C, H, W) sampled bilinearly where `flow` leads; outside of it the border (or "zeros")."""
    height, width = image.shape[-2:]
    x, y = positions(flow)
    grid = torch.stack([x * (2 / max(1, width - 1)) - 1, y * (2 / max(1, height - 1)) - 1], dim=-1)
    sampled = F.grid_sample(image.float(), grid, mode="bilinear", padding_mode=padding, align_corners=True)
    return sampled.to(image.dtype)


def resized(image: Tensor, factor: float) -> Tensor:
    """Bilinear at half-pixel centres, without a filter: `factor` 1/16 reads four pixels for one."""
    if factor == 1:
        return image
    return F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)


def averaged(image: Tensor, side: int) -> Tensor:
    """Means over `side` x `side` pixels (an odd number) around every pixel, of those that the image has."""
    reach = side // 2
    rows = F.avg_pool2d(image, (side, 1), 1, (reach, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), 1, (0, reach), count_include_pad=False)


def summed(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Sums (B, C, size) of all `values` (B, C, N) whose `index` (B, N) names that place.

    The same bits every time, but for training on CUDA, where that would take time and serve nobody.
    """
    batch, channels, _ = values.shape
    if values.device.type != "cuda" or values.requires_grad:
        total = values.new_zeros(batch, channels, size)
        return total.scatter_add(2, index[:, None].expand(-1, channels, -1), values)
    return _summed_in_order(values, index, size)


def _summed_in_order(values: Tensor, index: Tensor, size: int) -> Tensor:
    """The same where `scatter_add_` adds in the order in which its threads come: `index_put_` sorts on CUDA."""
    batch, channels, _ = values.shape
    whole = index + size * torch.arange(batch, device=index.device)[:, None]
    total = values.new_zeros(batch * size, channels)
    total.index_put_((whole.flatten(),), values.transpose(1, 2).reshape(-1, channels), accumulate=True)
    return total.view(batch, size, channels).transpose(1, 2)
