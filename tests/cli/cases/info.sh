mcompress info "$MODELS"/fashion-mlp.onnx | sed "s|$MODELS|MODELS|"
mcompress info "$MODELS"/fashion-vit.onnx | sed -n '/operators/,/^$/p'
mcompress info --json "$MODELS"/fashion-cnn.onnx --report r.json --report r.txt >stdout.json
cmp r.json stdout.json
sed "s|$MODELS|MODELS|" stdout.json
head -n 1 r.txt | sed "s|$MODELS|MODELS|"
mcompress info -q "$MODELS"/fashion-cnn.onnx
# From a pipe and from a redirected file.
cat "$MODELS"/fashion-mlp.onnx | mcompress info - | head -n 3
mcompress info - <"$MODELS"/fashion-mlp.onnx | head -n 3
