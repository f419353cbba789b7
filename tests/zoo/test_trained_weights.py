"""Real published weights name real photographs, where the sample data lies beside the repository; skipped elsewhere.

Turns red: `(0, 2, 4)` → `(0, 3, 7)` in `squeezenet1_1`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from convscope.zoo.squeezenet import squeezenet1_1

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not (DATA / "models/squeezenet1_1.safetensors").is_file(), reason="no sample data beside the repository")
def test_squeezenet_loads_published_weights_and_names_the_crops() -> None:
    model = squeezenet1_1().eval()
    weights = load_file(DATA / "models/squeezenet1_1.safetensors")
    model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=True)
    lines = (DATA / "images/imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    expected = {"zebra": "zebra", "goldfish": "goldfish", "hot_dog": "hotdog", "kitten": "cat", "cat": "cat"}
    for name, word in expected.items():
        pixels = np.asarray(Image.open(DATA / f"images/open/{name}.png").convert("RGB"), dtype=np.float32)
        x = torch.from_numpy(pixels - np.float32([123, 117, 104])).permute(2, 0, 1)[None]
        with torch.no_grad():
            best = model(x)[0].topk(5).indices.tolist()
        assert any(word in lines[k] for k in best), (name, [lines[k] for k in best])
