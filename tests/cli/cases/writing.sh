# An output that cannot be written: status 1, the old file survives, nothing is left behind.
M=$MODELS/fashion-mlp.onnx
echo precious >out.onnx
(
    ulimit -f 600
    mcompress svd "$M" -o out.onnx --keep 0.5
) >text 2>err
echo "$?"
wc -l <err
grep -c 'mcompress svd: .*File too large' err
cat out.onnx
ls -A
cp "$M" m.onnx
try mcompress svd m.onnx -o missing/out.onnx --keep 0.5
try mcompress svd m.onnx -o . --keep 0.5
mkdir locked
chmod a-w locked
if [ "$(id -u)" != 0 ]; then
    mcompress svd "$M" -o locked/out.onnx --keep 0.5 -q 2>/dev/null
    echo "$?"
else
    echo 1 # root writes anywhere
fi
chmod u+w locked
ls -A locked
# Neither the model nor the file with its weights is replaced.
mcompress svd m.onnx -o ext.onnx --keep 1 --external-data -q
mv ext.onnx other.onnx
ls ext.onnx.data
try mcompress svd other.onnx -o ext.onnx --keep 0.5
try mcompress svd other.onnx -o ext.onnx.data --keep 0.5
try mcompress svd other.onnx -o ./other.onnx --keep 0.5
mcompress svd other.onnx -o third.onnx --keep 0.5 -q
ls third.onnx third.onnx.data
mcompress eval third.onnx other.onnx --data fashion-mnist:test --samples 100 --min-sqnr 5 -q
echo "$?"
