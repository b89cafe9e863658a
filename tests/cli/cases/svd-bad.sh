# Models that svd cannot take: status 3 and no output file.
M=$MODELS/fashion-mlp.onnx
craft nan "$M" nan.onnx
head -c 100000 "$M" >cut.onnx
: >empty.onnx
craft npy 4 1 14 28 narrow.npy
try mcompress svd nan.onnx -o out.onnx --keep 0.5
try mcompress svd cut.onnx -o out.onnx --keep 0.5
try mcompress svd empty.onnx -o out.onnx --keep 0.5
try mcompress svd missing.onnx -o out.onnx --keep 0.5
try mcompress svd "$M" -o out.onnx --keep 0.5 --calib narrow.npy | sed "s|$MODELS|MODELS|"
try mcompress svd "$M" -o out.onnx --keep 0.5 --data narrow.npy | sed "s|$MODELS|MODELS|"
try mcompress svd "$M" -o out.onnx --keep 0.5 --data fashion-mnist:all | sed "s|$MODELS|MODELS|"
ls
