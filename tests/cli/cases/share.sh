# Codebooks, gates, ties and filters: help, the files, choices, and what cannot be asked for.
mcompress help share | sed '/^Output/,$d'
cp "$MODELS/fashion-lstm.onnx" lstm.onnx
cp "$MODELS/fashion-cnn.onnx" cnn.onnx
s() {
    try mcompress share "$@"
}
for bits in 3 4; do
    mcompress share lstm.onnx -o b$bits.onnx --bits $bits -q
    mcompress info b$bits.onnx | grep -A4 '^  packed'
done
mcompress share lstm.onnx -o gates.onnx --gates -q
mcompress info gates.onnx | grep -A3 '^  packed'
mcompress share cnn.onnx -o filters.onnx --filters 0.5 -q
mcompress info filters.onnx | sed -n 3p
mcompress share cnn.onnx --keep 0.2 --dry-run -q --choices-out c.json
mcompress share cnn.onnx -o chosen.onnx --choices c.json -q
mcompress info chosen.onnx | grep -A4 '^  packed'
s lstm.onnx -o out.onnx
s lstm.onnx -o out.onnx --bits 0
s lstm.onnx -o out.onnx --bits 9
s lstm.onnx -o out.onnx --bits 4 --keep 0.5
s lstm.onnx -o out.onnx --bits 4 --auto
s lstm.onnx -o out.onnx --tie '('
s lstm.onnx -o out.onnx --tie weight
s lstm.onnx -o out.onnx --tie auto
s lstm.onnx -o out.onnx --filters 0.5
s lstm.onnx -o out.onnx --filters 2
s cnn.onnx -o out.onnx --gates
s b4.onnx -o out.onnx --bits 4
s gates.onnx -o out.onnx --gates
echo '{"layers": [{"name": "/7/Gemm", "choice": "9 bits"}]}' >none.json
s cnn.onnx -o out.onnx --choices none.json
ls
