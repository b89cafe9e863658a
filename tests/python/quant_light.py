"""quant_light.py QUANT_MODEL [NAME…]: the `light` graphs of the onnx package with seeded noise for weights, as integers.

What quant_weights.py looks for, in networks of full size; those with more than 150 MB of weights are left out."""
import os
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import light  # noqa: E402
import quant_weights  # noqa: E402

LARGEST = 150 << 20
LIMIT = 0.1  # some hundred layers of noise: their errors add up

names, failed, done = sys.argv[2:], 0, 0
with tempfile.TemporaryDirectory() as work:
    for path in light.paths():
        name = os.path.basename(path)
        if (names and not any(n in name for n in names)) or any(n in name for n in ("vgg", "alexnet", "zfnet")):
            continue
        model = light.refill(path, 1)
        light.soften(model, 1, np.random.default_rng(5))
        assert quant_weights.bytes_of(model) <= LARGEST, name
        held = {t.name for t in model.graph.initializer}
        feeds = {v.name: np.random.default_rng(6).standard_normal([d.dim_value or 1 for d in v.type.tensor_type.shape.dim]).astype(np.float32)
                 for v in model.graph.input if v.name not in held}
        why = quant_weights.check(name, ("weight",), model, feeds, work, LIMIT)
        done += 1
        if why:
            failed += 1
            print(f"{name}: {why}")
print(f"{done} models, {failed} failed")
sys.exit(failed > 0 or not done)
