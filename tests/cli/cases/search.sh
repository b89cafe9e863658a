# A search writes its choices; given back, as they are or by hand, they are taken. What is wrong in them is named.
M=mlp.onnx
cp "$MODELS/fashion-mlp.onnx" $M
D='--calib fashion-mnist:train --calib-count 64'
choices() { grep '"choice"' "$1"; }
mcompress svd $M -o a.onnx --target bytes=500k $D --choices-out c.json -q
test "$(wc -c <a.onnx)" -le 500000 && echo small enough
mcompress svd $M -o b.onnx --choices c.json $D --choices-out d.json -q
choices c.json >c && choices d.json | cmp - c && echo the same choices
grep -c '"option"' c.json | awk '$1 > 12 { print "a table of options" }'
echo '{"layers": [{"name": "/3/Gemm", "choice": "rank 33"}]}' >hand.json
mcompress svd $M -o h.onnx --choices hand.json | grep Gemm | sed 's/  */ /g'
mcompress svd $M -o t.onnx --keep 0.3 --time 0 $D -q && test "$(wc -c <t.onnx)" -le 1119127 && echo in no time
mcompress svd $M --dry-run --target macs=0.3 | grep search
echo '{"layers": [{"name": "/3/gemm", "choice": "rank 33"}]}' >name.json
echo '{"layers": [{"name": "/3/Gemm", "choice": "rank 3333"}]}' >rank.json
printf '{"layers": [\n  {"name": "/3/Gemm" "choice": "rank 3"}]}\n' >comma.json
for c in name rank comma missing; do
    try mcompress svd $M -o x.onnx --choices $c.json
done
try mcompress svd $M -o x.onnx --target bytes=0.01 --keep 0.5
try mcompress svd $M -o x.onnx --target size=3
try mcompress svd $M -o x.onnx --target bytes=3x
try mcompress svd $M -o x.onnx --target latency=3
try mcompress svd $M -o x.onnx --auto
try mcompress svd $M -o x.onnx --keep 0.5 --time soon
try mcompress svd $M -o x.onnx --keep 0.5 --choices-out x.onnx
try mcompress svd $M -o x.onnx --keep 0.5 --choices-out nowhere/c.json
try mcompress svd $M -o x.onnx --keep 0.5 --choices-out out.json
ls
mcompress svd $M -o x.onnx --target bytes=10k -q 2>err
echo $?
sed 's/least is .*/least is …/' err
ls -1 x.onnx
