"""run_functions.py OP_CASE: models with model-local functions give what ONNX Runtime gives."""
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "ops"))
import onnxruntime as ort  # noqa: E402

import cases  # noqa: E402
import function_models  # noqa: E402

def judge(make, model, feeds):
    if make.__name__ in function_models.BY_HAND:
        return function_models.BY_HAND[make.__name__](*feeds.values())
    return ort.InferenceSession(model.SerializeToString()).run(None, feeds)


def main():
    folders = []
    with tempfile.TemporaryDirectory() as work:
        for make in function_models.MODELS:
            model = make()
            feeds = function_models.feeds(model)
            want = judge(make, model, feeds)
            folders.append(os.path.join(work, make.__name__))
            cases.write(folders[-1], model, list(feeds.values()), want, 1e-5, 1e-6)
        result = cases.run(sys.argv[1], work, folders)
    for name, (verdict, reason) in result.items():
        print(name, verdict, reason)
    return any(verdict != "pass" for verdict, _ in result.values())


if __name__ == "__main__":
    sys.exit(main())
