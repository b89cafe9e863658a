# What layers' inputs hold goes to a file, and takes the place of samples; files add up, and can be edited.
craft listener batch m.onnx
craft sounds 24 a.npy
craft sounds 5 b.npy
q() {
    mcompress quant m.onnx --form static --repair none --no-history -q "$@"
}
q -o one.onnx --calib a.npy --calib-count 24 --stats-out a.json
grep -o '"format": .*\|"version": .*\|"samples": .*\|"name": .*\|"count": .*' a.json
q -o two.onnx --stats a.json
cmp one.onnx two.onnx && echo the same model
# Written again it says the same.
q -o two.onnx --stats a.json --stats-out again.json
cmp a.json again.json
# Two files are what one of all samples is.
q -o t.onnx --calib a.npy --calib-count 8 --stats-out b.json
q -o t.onnx --calib b.npy --stats-out c.json
q -o two.onnx --stats b.json --stats c.json --stats-out bc.json
grep '"samples"' bc.json
q -o three.onnx --stats c.json --stats b.json
cmp two.onnx three.onnx && echo in any order
# Another method, from the same file.
q -o other.onnx --stats a.json --method minmax
q -o same.onnx --calib a.npy --calib-count 24 --method minmax
cmp other.onnx same.onnx
# A range by hand counts more than what was measured.
sed '0,/"name": "x",/s//"name": "x", "range": {"scale": 0.0625, "zero": 7},/' a.json >hand.json
q -o hand.onnx --stats hand.json --stats-out hand2.json
cmp -s hand.onnx one.onnx && echo 'the hand does nothing'
grep -A 3 '"range"' hand2.json
mcompress info hand.onnx --json | grep -c '"QuantizeLinear"'
# With samples as well, ranges are those of the file; forms are found with both.
q -o both.onnx --stats hand.json --calib b.npy
cmp both.onnx hand.onnx
mcompress quant m.onnx -o found.onnx --stats a.json --calib a.npy -q --report r.json
grep -c '"tried"' r.json
try mcompress quant m.onnx -o x.onnx --stats a.json
# Several in a recipe.
printf 'steps:\n  - quant: {form: static, repair: none, stats: [b.json, c.json]}\n' >r.yaml
mcompress run r.yaml m.onnx -o run.onnx -q --no-history && cmp run.onnx two.onnx
# What is wrong with a file is named, and so is the file.
bad() {
    try mcompress quant m.onnx -o x.onnx --form static --stats "$@"
}
bad missing.json
echo '{}' >empty.json
bad empty.json
echo '[1]' >list.json
bad list.json
head -c 200 a.json >cut.json
bad cut.json
edit() {
    sed "$1" a.json >edited.json
    bad edited.json
}
edit 's/"version": 1/"version": 2/'
edit 's/"samples": 24/"samples": "many"/'
edit 's/"samples": 24/"samples": -1/'
edit 's/"name": "x"/"name": "z"/'
edit 's/"name": "x"/"name": 3/'
edit 's/"model": "../"model": "00/'
edit '0,/"count"/s//"counts"/'
edit '0,/"count": [0-9]*/s//"count": -3/'
edit '0,/"min": [-0-9.e]*/s//"min": 1e300/'
edit '0,/"max": [-0-9.e]*/s//"max": "x"/'
edit '0,/"max": [-0-9.e]*/s//"max": 1e999/'
# What held NaN gets no range, and what did not does.
sed '0,/"nan": 0/s//"nan": 1/' a.json >edited.json
q -o x.onnx --stats edited.json --report r.txt
sed -n '/remarks/,/^$/p' r.txt
rm x.onnx
for r in 3 '{}' '{"scale": 0, "zero": 0}' '{"scale": 1e300, "zero": 0}' '{"scale": 0.1, "zero": 0.5}' '{"scale": 0.1, "zero": 99999999}' \
    '{"scale": 0.1, "zero": 300}' '{"scale": 0.1, "zero": -100}'; do
    sed "0,/\"name\": \"x\",/s//\"name\": \"x\", \"range\": $r,/" a.json >range.json
    bad range.json
done
sed 's/"name": "relu"/"name": "x"/' a.json >twice.json
bad twice.json
cp "$MODELS/student.onnx" other.onnx
try mcompress quant other.onnx -o x.onnx --form static --stats a.json
bad a.json --stats empty.json
# Neither samples nor statistics nor the model are replaced; what cannot be written leaves no model.
for o in a.npy m.onnx x.onnx c.json nowhere/s.json /dev/full; do
    try mcompress quant m.onnx -o x.onnx --form static --calib a.npy --choices-out c.json --stats-out $o -q
done
try mcompress quant m.onnx -o x.onnx --form static --stats a.json --stats-out a.json
try mcompress quant m.onnx -o x.onnx --form static --calib a.npy --stats-out r2.json --report r2.json
try mcompress quant m.onnx -o x.onnx --form weight --stats-out s.json
ls
