# Weights that become 0 stay 0: a pattern, a share, and training after both.
M=$MODELS/fashion-mlp.onnx
T="--train fashion-mnist:train --lr 0.001"
zeros() { mcompress prune "$1" --sparsity 0.001 --dry-run -o x.onnx | grep -o '.* weights are 0;'; }
mcompress prune "$M" --pattern 2:4 -o pattern.onnx | grep -e 'weights are 0' -e masked
mcompress finetune pattern.onnx $T --epochs 0.02 -o trained.onnx -q
echo "$?"
zeros trained.onnx
mcompress prune "$M" --sparsity 0.2 --skip /7/ $T --finetune 0.02 -o share.onnx -q
echo "$?"
zeros share.onnx
mcompress finetune share.onnx $T --epochs 0.02 -o trained.onnx -q
zeros trained.onnx
mcompress prune "$M" --sparsity 0.6 --calib fashion-mnist:train --calib-count 128 -o calib.onnx -q \
    --data fashion-mnist:test --samples 500 --require 'agreement>=0.95'
echo "$?"
short() { try "$@" | sed "s|$MODELS|MODELS|g"; }
short mcompress prune "$M" --pattern 4:2 -o out.onnx
short mcompress prune "$M" --pattern 2:4 --sparsity 0.5 -o out.onnx
short mcompress prune "$M" --pattern 2:4 --keep 0.5 -o out.onnx
short mcompress prune "$M" --sparsity 1 -o out.onnx
short mcompress prune "$M" --sparsity 0.5 --only nothing -o out.onnx
ls
