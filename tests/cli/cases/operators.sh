# An operator nobody knows: info says so, eval names it, svd compresses the rest and writes it back.
M=$MODELS/fashion-mlp.onnx
craft rename "$M" Relu Mystery odd.onnx
mcompress info odd.onnx | grep -e 'not run' -e operators
try mcompress eval odd.onnx --data fashion-mnist:test --samples 10
try mcompress svd odd.onnx -o out.onnx --keep 0.5 --data fashion-mnist:test --samples 10
mcompress svd odd.onnx -o out.onnx --keep 0.5 -q
echo "$?"
mcompress info out.onnx | grep 'not run'
mcompress info --json out.onnx | grep -e Mystery -e com.acme
