# --json on standard output is the report; -q prints nothing; the layers that were left have a reason.
M=$MODELS/fashion-mlp.onnx
mcompress svd "$M" -o out.onnx --keep 0.3 --report r.json --json >stdout.json 2>err
cmp r.json stdout.json
cat err
mcompress svd "$M" -o out.onnx --keep 0.3 -q
mcompress svd "$M" -o out.onnx --keep 0.3 --report nowhere/r.json -q
echo "$?"
mcompress svd "$M" -o out.onnx --keep 0.3 -v 2>err >/dev/null
grep -c prepared err
