# Failures have their names and do not stop the rest; wrong command lines are found before anything begins.
S=$MODELS/student.onnx
mkdir -p in/sub empty
cp "$S" in/a.onnx
cp "$S" in/sub/z.onnx
: >in/empty.onnx
echo 'no model' >in/text.onnx
head -c 9000 "$S" >in/cut.onnx
craft nan "$S" in/nan.onnx
craft nested 100000 in/nested.onnx
craft rename "$S" Relu Gizmo in/sub/gizmo.onnx
craft npy 40 1 28 28 samples.npy
ln -s nowhere in/dangling.onnx
run() {
    mcompress batch svd:keep=0.5 in -o out --data samples.npy -j 1 "$@"
}
run 2>&1 >/dev/null | sed -E 's/[0-9.]+ [kM]?B -> .*/.../'
run -q 2>/dev/null
echo "$?"
find out -name '*.onnx' | LC_ALL=C sort
echo '--- a gate'
rm in/*.onnx in/sub/gizmo.onnx
cp "$S" in/a.onnx
run --require 'max_abs<=0' 2>&1 >text | sed -E 's/[0-9.]+ [kM]?B -> [0-9.]+ [kM]?B/.../; s/max_abs is .*/max_abs is .../'
grep -c missed$ text
run --require 'max_abs<=0' -q 2>/dev/null
echo "$?"
ls out/a.onnx
run --require 'max_abs<=1e9' -q
echo "$?"
: >in/sub/empty.onnx
run --require 'max_abs<=0' -q 2>/dev/null
echo "$?"
run --fail-fast -q --force 2>&1
echo '--- what an earlier run left'
: >in/a.onnx
run 2>/dev/null | grep -c 'earlier run)$'
echo '--- usage'
try mcompress batch svd:keep=0.5 in
try mcompress batch svd:keep=0.5
try mcompress batch svd:kepe=0.5 in -o new
try mcompress batch svd:keep=0.5 in -o in
try mcompress batch svd:keep=0.5 in/sub -o in
try mcompress batch svd:keep=0.5 in/a.onnx -o in
try mcompress batch svd:keep=0.5 in -o samples.npy
try mcompress batch svd:keep=0.5 missing -o new
try mcompress batch svd:keep=0.5 empty -o new
try mcompress batch svd:keep=0.5 in -o new --data '{dir}/{steam}.npz'
try mcompress batch svd:keep=0.5 in -o new --data '{dir'
try mcompress batch svd:keep=0.5 in -o new --max-drop 0.01
try mcompress batch svd:keep=0.5 in -o new --require top1=0
try mcompress batch svd:keep=0.5 in -o new --report missing/r.html
try mcompress batch svd:keep=0.5 in -o new --report r.pdf
try mcompress batch svd:keep=0.5 in -o new --mem-limit lots
try mcompress batch svd:keep=0.5 in -o new --time-limit 0
try mcompress batch svd:keep=0.5 in -o new --time-limit soon
try mcompress batch svd:keep=0.5,finetune in -o new --train fashion-mnist:train --checkpoint all.ckpt
try mcompress batch svd:keep=0.5 in -o new --checkpoint '{rel}.ckpt'
try mcompress batch svd:keep=0.5,finetune in -o new
try mcompress batch svd:keep=0.5,choices-out=all.json in -o new
echo '{"steps": ["svd:keep=0.5"]}' >recipe.json
try mcompress batch recipe.json in -o new --report recipe.json
printf 'max-drop: 0.01\nsteps: svd\n' >gate.yaml
try mcompress batch gate.yaml in -o new
printf 'require: top1=0\nsteps: svd\n' >gate.yaml
try mcompress batch gate.yaml in -o new --data samples.npy
try mcompress batch svd:keep=0.5 in -o -
ls
