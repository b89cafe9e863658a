# What circulant cannot do, in one line each, and no output file.
M=$MODELS/fashion-mlp.onnx
craft nan "$M" nan.onnx
mcompress circulant "$M" -o done.onnx --block 8 -q --no-latency
say() { try mcompress circulant "$@" | sed "s|$MODELS|MODELS|"; }
say "$M" -o out.onnx --block 1024
say "$M" -o out.onnx --block /7/Gemm=16
say "$M" -o out.onnx --block /7/Gem=4
say "$M" -o out.onnx --block 0
say "$M" -o out.onnx --block eight
say "$M" -o out.onnx --block 8 --keep 0.5
say "$M" -o out.onnx --only nothing
say "$M" -o out.onnx --skip Gemm
say nan.onnx -o out.onnx --block 8
say "$MODELS/fashion-lstm.onnx" -o out.onnx --block 8
say done.onnx -o out.onnx --block 8
say "$M" -o out.onnx --auto
say "$M" -o out.onnx --body quick
ls
