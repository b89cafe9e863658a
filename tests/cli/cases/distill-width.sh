# The student is a thinner copy of the teacher.
M=$MODELS/fashion-mlp.onnx
D="--data fashion-mnist:test --samples 500"
mcompress distill "$M" --width 0.5 --train fashion-mnist:train --epochs 0.2 --lr 0.001 -o thin.onnx $D --json >r.json
echo "$?"
grep -e '^        "loss": "' -e '"student"' -e '"ratio"' -e '"parameters_after"' -e '"kept"' r.json
mcompress eval thin.onnx "$M" $D --require 'agreement>=0.8' -q
echo "$?"
mcompress info thin.onnx | grep -e kB -e MB | head -n 1
short() { try "$@" | sed "s|$MODELS|MODELS|g"; }
short mcompress distill "$M" --width 0.5 --student thin.onnx --train fashion-mnist:train -o out.onnx
short mcompress distill "$M" --width 0 --train fashion-mnist:train -o out.onnx
mcompress distill "$MODELS/fashion-lstm.onnx" --width 0.5 --train fashion-mnist:train --epochs 0.02 -o cells.onnx --json >r.json
echo "$?"
grep -e '"parameters_after"' -e '"kept"' -e '"kind": "states"' r.json
ls
