# The forms that were found go to a file; given back, as they are or by hand, they are taken. What is wrong in them is named.
M=m.onnx
cp "$MODELS/student.onnx" $M
D='--calib fashion-mnist:train --calib-count 16'
q() {
    mcompress quant $M "$@" -q --no-history
}
q -o a.onnx $D --choices-out c.json
grep -c '"choice"' c.json
grep '"goal"\|"ended"' c.json
q -o b.onnx --choices c.json $D --repair fold,bias
q -o c.onnx $D --repair fold,bias
cmp b.onnx c.onnx && echo the same model
hand() {
    echo "$1" >hand.json
    shift
    mcompress quant $M -o h.onnx --choices hand.json -q --report r.json "$@" &&
        tr -d '\n' <r.json | grep -o '"name": "[a-z0-9]*", *"op": "[A-Za-z]*", *"action": "[a-z]*", *"reason": [^,]*' | tr -s ' '
}
hand '{"layers": [{"name": "conv2", "choice": "weight"}, {"name": "fc", "choice": "weight4"}]}'
hand '{"layers": [{"name": "conv2", "choice": "static"}, {"name": "conv3", "choice": "static16"}, {"name": "fc", "choice": "float"}]}' $D
hand '{"layers": [{"name": "conv1", "choice": null}, {"name": "fc", "choice": "half"}]}'
hand '{"layers": []}'
sed 's/"choice": "[a-z0-9]*"/"choice": "weight"/' c.json >weight.json
q -o w.onnx --choices weight.json
q -o v.onnx --form weight
cmp w.onnx v.onnx && echo weights alone
# A target writes choices as well.
q -o t.onnx $D --target bytes=12k --choices-out t.json
q -o u.onnx $D --choices t.json
ls -l t.onnx u.onnx | awk '{ s[NR] = $5 } END { d = s[1] - s[2]; print (d < 100 && d > -100 ? "as large" : "sizes " s[1] " " s[2]) }'
bad() {
    echo "$1" >bad.json
    try mcompress quant $M -o x.onnx --choices bad.json
}
bad '{"layers": [{"name": "conv3" "choice": "weight"}]}'
bad '[]'
bad '{}'
bad '{"layers": {"conv3": "weight"}}'
bad '{"layers": ["conv3"]}'
bad '{"layers": [{"choice": "weight"}]}'
bad '{"layers": [{"name": "conv3"}]}'
bad '{"layers": [{"name": "conv3", "choice": 8}]}'
bad '{"layers": [{"name": "conv3", "choice": "int8"}]}'
bad '{"layers": [{"name": "conv3", "choice": "keep 3 of 32"}]}'
bad '{"layers": [{"name": "conv3", "choice": "weight4"}]}'
bad '{"layers": [{"name": "conv3", "choice": "dynamic"}]}'
bad '{"layers": [{"name": "conv3", "choice": "static"}]}'
bad '{"layers": [{"name": "conv", "choice": "weight"}]}'
bad '{"layers": [{"name": "conv3", "choice": "weight"}, {"name": "conv3", "choice": "float"}]}'
try mcompress quant $M -o x.onnx --choices missing.json
try mcompress quant $M -o x.onnx --choices c.json --target bytes=0.5
try mcompress quant $M -o x.onnx --form weight --choices-out out.json
try mcompress quant $M -o x.onnx --choices c.json --choices-out c.json
craft listener batch other.onnx
try mcompress quant other.onnx -o x.onnx --choices weight.json
ls
