# Ranks layer by layer, by node or by weight: one with a name counts before one without, the last before the first.
ln -s "$MODELS/fashion-mlp.onnx" mlp.onnx
M=mlp.onnx
ranks() {
    mcompress svd "$M" -o out.onnx --report r.json -q "$@" && sed -n 's/^ *"rank": \([0-9a-z]*\),$/\1/p' r.json | tr '\n' ' '
    echo
}
ranks --rank 8
ranks --rank 8 --rank /3/Gemm=20
ranks --rank /3/Gemm=20 --rank 8 --rank 5.weight=3 --rank /3/Gemm=21
ranks --rank /7/Gemm=4
ranks --rank 8 --rank /7/Gemm=400
mcompress run 'svd:rank=8,rank=/3/Gemm=20' "$M" -o chain.onnx -q
mcompress svd "$M" -o out.onnx --rank 8 --rank /3/Gemm=20 -q
cmp chain.onnx out.onnx
printf 'steps:\n  - svd:\n      rank: [8, /3/Gemm=20]\n' >r.yaml
mcompress run r.yaml "$M" -o chain.onnx -q
cmp chain.onnx out.onnx
for bad in 0 x -1 99999999999999999999 /3/Gemm= /3/Gemm=0 /3/Gem=8 5.weigth=8 nothing=8 =8; do
    try mcompress svd "$M" -o bad.onnx --rank "$bad"
done
try mcompress svd "$M" -o bad.onnx --rank 8 --energy 0.5
[ ! -e bad.onnx ] || echo 'bad.onnx is there'
