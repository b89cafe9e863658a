# What people read of a quantised model: forms, why a layer has another one, repairs, the sets that were tried; the same in every kind.
M=$MODELS/fashion-cnn.onnx
mcompress quant "$M" -o out.onnx --calib fashion-mnist:train --calib-count 16 --data fashion-mnist:test --samples 100 -q \
    --report r.txt --report r.html --report r.md --report r.xml --report r.json
mask() {
    sed 's/[0-9][0-9.,]*\(e-[0-9]*\)\{0,1\}/N/g; s/  */ /g; s/ $//; s/ faster\|takes .* as long/ …/'
}
sed -n '/^  integers/p;/^  guided/p;/^  estimated/p;/^  search/p' r.txt | sed 's/:.*//' | mask
grep -c '^  remarks' r.txt
sed -n '/<h2>Search/,/<h2>How/p' r.html | grep -o '<th[^>]*>[a-zA-Z ]*\|<td>weights alone'  | sed 's/<[^>]*>//'
grep -c '### Remarks' r.md
grep -c '>Remarks<' r.html
for k in forms integer_nodes weight_bytes compressed_bytes rules calibration_samples judged_samples judged weight_only repairs estimated_time tried; do
    grep -q "\"$k\"" r.json || echo "no $k"
done
grep -c '<testcase' r.xml | awk '{ print ($1 > 0 ? "cases" : "no cases") }'
# Not searched: why a layer has not the form that was asked for, and why one was left.
mcompress quant "$M" -o out.onnx --form weight4 --skip /7/ -q --report r.txt --report r.md
sed -n '/^  layer/,/^$/p;/^  remarks/,/^$/p;/^  left/,/^$/p' r.txt | mask
sed -n '/^### /,/^$/p;/^| 1 ×/p' r.md
# A result that is slower says so, and names layers.
craft listener batch m.onnx
craft sounds 24 a.npy
mcompress quant m.onnx -o out.onnx --form dynamic -q --report r.txt
grep -o 'the result takes .* times as long as the floats\|most because of .*' r.txt | mask
# One that answers differently says so, too.
mcompress quant m.onnx -o out.onnx --bits w2a2 --calib a.npy -q --report r.txt
grep 'answers differently' r.txt
mcompress quant m.onnx -o out.onnx --calib a.npy -q --report r.txt
grep 'answers differently' r.txt
# One sample is one sample.
craft sounds 1 b.npy
mcompress quant m.onnx -o out.onnx --form static --calib b.npy -q --report r.txt
grep -o 'ranges of .*\|guided by [^:]*' r.txt
# Halves, and integers that stay in the memory of the model.
mcompress quant "$M" -o out.onnx --form fp16 -q --report r.txt
sed -n '/^  layer/,/^$/p' r.txt | mask | head -n 3
mcompress info out.onnx | sed -n '/history/p;/^  weights/p' | sed 's/  */ /g'
