#!/bin/sh
# Wait until no pool is saturated, at most as many tries as the second argument says (60), a second each.
#
#     wait_for_pools.sh [HOST[:PORT] [TRIES]]
#
# Status 0: no pool is saturated. 1: nothing is to be seen. 3: one was to the last.
host=${1:-localhost}
tries=${2:-60}
while :; do
    connmon connect --host "$host" --once --fail-on saturated >/dev/null
    status=$?
    tries=$((tries - 1))
    if [ "$status" -ne 3 ] || [ "$tries" -le 0 ]; then exit "$status"; fi
    sleep 1
done
