# Every model below a folder, data found by a pattern; names that need care; what is done stays done.
S=$MODELS/student.onnx
mkdir -p 'in/with space' in/.hidden in/folder.onnx
craft npy 40 1 28 28 samples.npy
for m in in/a.onnx "in/with space/q'\"b.ONNX" in/folder.onnx/c.onnx; do
    cp "$S" "$m"
    cp samples.npy "${m%.*}.npy"
done
newline=$(printf 'in/new\nline.onnx')
raw=$(printf 'in/\377.onnx')
cp "$S" "$newline" && cp samples.npy "${newline%.onnx}.npy"
cp "$S" "$raw" && cp samples.npy "${raw%.onnx}.npy"
cp "$S" in/.hidden/x.onnx
cp "$S" in/.also.onnx
echo other >in/readme.txt
ln -s . in/loop
ln -s ../a.onnx in/folder.onnx/link.onnx
cp samples.npy in/folder.onnx/link.npy
# Sizes and times are not what this is about.
rows() {
    sed -E 's/ +[0-9.]+ [kM]?B .*  (done|missed|failed|to do)$/  \1/; s/[0-9.]+ [kM]?B -> .*//; /^  [0-9.]+ s, /d; s/^(  model).*/\1/'
}
run() {
    mcompress batch svd:keep=0.5 in -o out --data '{dir}/{stem}.npy' "$@"
}
run --dry-run -q
ls
run -j 2 --report all.json --report all.html --report all.md --report-each txt 2>err | rows
wc -l <err
ls out out/*/ | cat -v
cmp out/a.onnx 'out/with space/'*.ONNX && cmp out/a.onnx out/folder.onnx/link.onnx
cat all.html | grep -c '<title>in -&gt; out, svd'
grep -c '^| .* | done |$' all.md
# The same bytes as from the command by itself.
mcompress run svd:keep=0.5 in/a.onnx -o alone.onnx --data in/a.npy -q
cmp alone.onnx out/a.onnx
echo '--- again'
again() {
    run -j 1 -q --report again.json "$@" 2>&1
    grep done_before again.json
}
again
again --force
touch -d '2001-01-01' in/a.npy
again
craft nan "$S" in/a.onnx
again
cp "$S" in/a.onnx
echo more >>out/folder.onnx/c.onnx
again
again --seed 5
mcompress batch svd:keep=0.5 in -o out --data 'in/a.npy' --dry-run | grep -c 'is another$'
echo '--- without samples'
rm in/a.npy
run -j 1 -q 2>&1
echo "$?"
run -j 1 -q --data-optional --report again.json
echo "$?"
echo '--- a folder named as the recipe'
mcompress batch svd in/folder.onnx -o svd -j 1 -q
echo "$?"
echo '--- a recipe that says no'
printf 'external-data: false\nsteps: svd\n' >no.yaml
mcompress batch no.yaml in/folder.onnx -o no -j 1 -q
ls no
echo '--- one model'
try mcompress batch svd:keep=0.5 in/a.onnx -o one -q
ls one
