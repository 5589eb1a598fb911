# SPDX-License-Identifier: GPL-3.0-or-later
"""Write vectors.json anew, after a look at scripts/check-golden:  python -m tests.networks.make_vectors"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from scripts.made_weights import checkpoint_of
from tests.networks.test_networks import NETWORKS, VECTORS, made_by


def main() -> None:
    """Every network's frame, sampled."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            file = Path(folder, f"{name}.pkl")
            torch.save(checkpoint_of(name), file)
            found[name] = made_by(name, file)[::8, ::8].round(6).tolist()
    VECTORS.write_text(json.dumps({name: values for name, values in found.items()}) + "\n")


if __name__ == "__main__":
    main()
