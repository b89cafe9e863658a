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
