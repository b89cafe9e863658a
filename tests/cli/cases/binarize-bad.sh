# What cannot be binarised, each with its name.
M=m.onnx
cp "$MODELS/fashion-mlp.onnx" $M
try mcompress binarize "$M" -o out.onnx --activations
try mcompress binarize "$M" -o out.onnx --only nothing
try mcompress binarize "$M" -o out.onnx --skip '('
try mcompress binarize "$M" -o out.onnx --only /1/Gemm
try mcompress binarize "$M" -o out.onnx --no-shortcut
try mcompress binarize "$M" -o out.onnx --body fast --activations
try mcompress binarize "$M" -o out.onnx --body slow
try mcompress binarize "$M" -o out.onnx --target macs=0.5
try mcompress binarize "$M" -o out.onnx --keep 0.5 --target bytes=1M
try mcompress binarize "$M" -o missed.onnx --keep 0.1 -q
mcompress binarize "$M" -o once.onnx -q
try mcompress binarize once.onnx -o twice.onnx
mcompress binarize "$M" -o all.onnx --all -q
try mcompress binarize all.onnx -o twice.onnx
craft nan "$M" nan.onnx
try mcompress binarize nan.onnx -o out.onnx --all
ls out.onnx twice.onnx 2>/dev/null
