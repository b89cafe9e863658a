# A missed gate is status 4; the model and the report are there all the same.
M=$MODELS/fashion-mlp.onnx
S="mcompress svd $M --calib fashion-mnist:train --data fashion-mnist:test --samples 500 -q"
$S --keep 0.9 -o ok.onnx --max-drop 5% --min-sqnr 5
echo "met: $?"
$S --keep 0.02 -o bad.onnx --max-drop 0.1% --report bad.json 2>err
echo "missed: $?"
wc -l <err
grep -c 'gate max-drop missed' err
ls bad.onnx bad.json
grep -c '"passed": false' bad.json
craft idx 5 28 images.idx
try mcompress svd "$M" -o no.onnx --keep 0.5 --data images.idx --require 'top1>=0.5' | sed "s|$MODELS|MODELS|"
[ ! -e no.onnx ] || echo 'no.onnx is there'
