# Help goes to standard output with status 0, and every command has an example.
mcompress --version
for c in info eval bench finetune distill list help svd; do
    mcompress $c --help >"$c.txt" || echo "$c --help failed"
    mcompress help $c | cmp - "$c.txt"
    grep -A 1 '^example:' "$c.txt"
done
mcompress svd -h --nonsense | cmp - svd.txt
mcompress help | sed -n '/^exit status/,$p'
mcompress -h | cmp - /dev/stdin <<END
$(mcompress help)
END
mcompress help --man | grep -c '^\.S[HS]'
awk 'length > 100 { print FILENAME ": " length " columns" }' ./*.txt
