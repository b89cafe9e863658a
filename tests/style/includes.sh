#!/bin/sh
# includes.sh ROOT: which room may include which. The table of the design, read from the #include lines.
set -u
cd "$1" || exit 1

find base kernels graph formats train passes cli -name '*.[ch]' 2>/dev/null | LC_ALL=C sort |
    xargs awk '
    # Room of a path: the longest of the names below.
    function room(path) {
        if (path ~ /^graph\/ops\//) return "graph/ops"
        if (path ~ /^graph\/run\//) return "graph/run"
        if (path ~ /^graph\/grad\//) return "graph/grad"
        sub(/\/.*/, "", path)
        return path
    }
    BEGIN {
        may["base"] = "base"
        may["kernels"] = "kernels base"
        may["graph"] = may["graph/grad"] = "graph graph/ops graph/grad graph/run base"
        may["graph/ops"] = may["graph/run"] = "graph graph/ops graph/grad graph/run kernels base"
        may["formats"] = "formats graph graph/ops graph/grad graph/run base"
        may["train"] = "train graph graph/ops graph/grad graph/run base"
        may["passes"] = "passes train graph graph/ops graph/grad graph/run base"
        may["cli"] = "cli passes train formats graph graph/ops graph/grad graph/run base"
        # one header of another room
        also["passes kernels/linalg.h"] = 1
    }
    /^[ \t]*#[ \t]*include[ \t]*"/ {
        split($0, part, "\"")
        target = part[2]
        mine = room(FILENAME)
        seen++
        if (target !~ /\//) {
            printf "%s:%d: \"%s\": write the folder too\n", FILENAME, FNR, target
            bad++
        } else if (index(" " may[mine] " ", " " room(target) " ") == 0 &&
                   !((mine " " target) in also)) {
            printf "%s:%d: %s may not include %s\n", FILENAME, FNR, mine, target
            bad++
        }
    }
    END {
        printf "%d includes, %d against the rules\n", seen, bad
        exit bad > 0 || seen == 0
    }'
