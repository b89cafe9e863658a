# A program built without CUDA says so where a GPU is asked for, and otherwise computes on the CPU.
ln -s "$MODELS" models
unset MCOMPRESS_DEVICE
run="mcompress eval models/fashion-mlp.onnx --data fashion-mnist:test --samples 4"
try $run --device cuda
try $run --device cuda:1
MCOMPRESS_DEVICE=cuda try $run
mcompress svd models/fashion-mlp.onnx --keep 0.2 -o none.onnx --device cuda
echo "$?"
ls none.onnx 2>&1
$run --json | grep -e '"device"' -e '"gpu"'
$run --device auto --json | grep -e '"device"' -e '"gpu"'
MCOMPRESS_DEVICE=auto $run --json | grep '"device"'
mcompress list devices | grep cuda | tr -s ' '
