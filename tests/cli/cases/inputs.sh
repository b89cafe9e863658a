# Weights that an exporter lists as graph inputs are weights all the same: found, replaced, no inputs any more.
craft inputs "$MODELS/fashion-mlp.onnx" listed.onnx
mcompress svd listed.onnx --keep 0.25 -o a.onnx --report a.json | grep -e product -e 'graph inputs'
mcompress svd "$MODELS/fashion-mlp.onnx" --keep 0.25 -o b.onnx -q
for f in a b; do
    mcompress eval $f.onnx --data fashion-mnist:test --samples 500 --json | grep -e top1 -e loss >$f.txt
done
cmp a.txt b.txt
mcompress info a.onnx --json | sed -n '/"inputs"/,/]/p' | grep -c '"name"'
