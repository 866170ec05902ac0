#!/bin/sh
# Wait until no pool is saturated: one try a second, at most TRIES (60 by default).
#
#     wait_for_pools.sh [HOST[:PORT] [TRIES]]
#
# Status 0: no pool is saturated. 1: no data arrived. 3: a pool was still saturated at the last try.
host=${1:-localhost}
tries=${2:-60}
while :; do
    connmon connect --host "$host" --once --fail-on saturated >/dev/null
    status=$?
    tries=$((tries - 1))
    if [ "$status" -ne 3 ] || [ "$tries" -le 0 ]; then exit "$status"; fi
    sleep 1
done
