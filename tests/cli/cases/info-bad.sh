# Files that are no models: status 3, one line that names the file, never a crash.
: >empty.onnx
head -c 100000 "$MODELS"/fashion-mlp.onnx >cut.onnx
head -c 10 "$MODELS"/fashion-mlp.onnx >stub.onnx
gzip -nc "$MODELS"/fashion-lstm.onnx | head -c 5000 >random.onnx
echo 'hello, this is text' >text.onnx
craft nested 20 shallow.onnx
craft nested 10000 deep.onnx
try mcompress info missing.onnx
try mcompress info .
try mcompress info empty.onnx
try mcompress info stub.onnx
try mcompress info cut.onnx
try mcompress info random.onnx
try mcompress info text.onnx
try mcompress info deep.onnx
mcompress info shallow.onnx | head -n 3
printf 'esc.\033[2Jonnx' | xargs -0 mcompress info
try mcompress info - </dev/null
# A terminal obeys nothing in a name: U+009B begins a command, U+202E turns text round.
name=$(printf 'a\302\2332J\342\200\256b.onnx')
: >"$name"
try mcompress info "$name" | tail -n +2
