# Training through the rounding: of a file that is quantised already, and within the command. 2 bits come closer to the
# teacher; what is written has integers and no node of ours.
M=$MODELS/fashion-mlp.onnx
T="--train fashion-mnist:train --lr 0.003"
Q="--form static --bits w2a4 --search off --calib fashion-mnist:train"
agree() {
    mcompress eval "$1" "$M" --data fashion-mnist:test --samples 1000 --require 'agreement>=0.87' -q 2>/dev/null
    echo "$1 $?"
}
mcompress quant "$M" $Q --repair none -o plain.onnx -q
agree plain.onnx
mcompress finetune plain.onnx $T --teacher "$M" --epochs 0.1 -o trained.onnx -q
agree trained.onnx
mcompress info trained.onnx | grep -o -e 'QuantizeLinear [0-9]*' -e 'int2 * [0-9]* tensors' -e FakeQuantize
mcompress quant "$M" $Q $T --finetune 0.1 -o both.onnx -q
agree both.onnx
mcompress finetune both.onnx $T --epochs 0.02 -o again.onnx -q
agree again.onnx
ls
