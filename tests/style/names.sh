#!/bin/sh
# names.sh ROOT: file names are unique in the tree; only folders' own meson.build, README.md and run repeat.
set -u
cd "$1" || exit 1
files=$(find .ci base cli formats graph kernels models passes tests train -type f 2>/dev/null |
    grep -v -e '/meson\.build$' -e '/run$' -e '/README\.md$' -e '/__pycache__/' -e '/tests/cli/cases/')
twice=$(printf '%s\n' "$files" | sed 's|.*/||' | LC_ALL=C sort | uniq -d)
for name in $twice; do
    printf 'more than one file is named %s:\n' "$name"
    printf '%s\n' "$files" | grep "/$name\$"
done
printf '%d files\n' "$(printf '%s\n' "$files" | wc -l)"
[ -z "$twice" ] && [ -n "$files" ]
