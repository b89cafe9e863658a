# "-" is standard input and output; the text then goes to standard error.
M=$MODELS/fashion-mlp.onnx
mcompress svd "$M" -o file.onnx --keep 0.5 -q
mcompress svd - -o - --keep 0.5 <"$M" 2>text | cmp - file.onnx
cat "$M" | mcompress svd - -o - --keep 0.5 -q | cmp - file.onnx
grep -c 'parameters' text
mcompress svd "$M" -o - --keep 0.5 -q | mcompress info - | head -n 1
mcompress svd "$M" -o - --keep 0.5 -q --external-data >none
echo "$?"
wc -c <none
# A pipe with a name, or a device, is written into; it is not replaced by a file.
mkfifo pipe
timeout 60 cmp pipe file.onnx &
reader=$!
mcompress svd "$M" -o pipe --keep 0.5 -q
[ -p pipe ] && wait $reader
echo "$?"
mcompress svd "$M" -o pipe --keep 0.5 -q --external-data 2>err
echo "$?"
cat err
ls pipe*
# A reader that goes away ends the program without a word; a full one is an error.
mcompress info "$M" | true
mcompress list operators >/dev/full
echo "$?"
# What is printed to a stream that is closed is in no file that has its number.
mcompress batch svd:keep=0.5 "$MODELS/student.onnx" -o closed -j 1 >/dev/null 2>&-
echo "$?"
wc -c <closed/.mcompress/lock
mcompress info "$M" >&-
echo "$?"
