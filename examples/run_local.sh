#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run_local.sh - a whole store on this machine, for as long as it takes
#
#   examples/run_local.sh [BUILD [COMMAND [ARGUMENT...]]]
#
# Starts master, target and store service on free ports, runs the examples (or
# COMMAND) with MOONCAKE_MASTER set, ends what it started.  BUILD is a meson
# build folder (default: build) or a prefix that Mooncake-C is installed in.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1-} in
-h | --help)
	sed -n '3,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
	exit 0
	;;
esac
build=${1:-$here/../build}
[ $# -eq 0 ] || shift
build=$(cd "$build" 2>/dev/null && pwd || echo "$build")

if [ -x "$build/src/cmd/mooncake_master" ]; then
	bin=$build/src/cmd
	python=$build/python/pkg
	lib=$build/src/client
	pc=$build/meson-uninstalled
elif [ -x "$build/bin/mooncake_master" ]; then
	bin=$build/bin
	python=$build/lib/python3/dist-packages
	lib=$(dirname "$(find "$build" -name libmooncake_store.so | head -n 1)")
	pc=$lib/pkgconfig
else
	echo "${0##*/}: $build has no mooncake_master: build or install first" >&2
	exit 1
fi
export PATH=$bin:$PATH
export PYTHONPATH=$python${PYTHONPATH:+:$PYTHONPATH}
export LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH=$pc${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}

dir=$(mktemp -d)
pids=()
cleanup() {
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start PROGRAM PATTERN ARGUMENT... : sets $found to what group 1 of PATTERN
# matched in a line of its output
start() {
	local program=$1 pattern=$2 log=$dir/$1.log i
	shift 2
	: >"$log"
	"$program" "$@" >"$log" 2>&1 &
	pids+=($!)
	for ((i = 0; i < 200; i++)); do
		found=$(sed -n "s/$pattern/\1/p" "$log" | head -n 1)
		[ -z "$found" ] || return 0
		kill -0 $! 2>/dev/null || break
		sleep 0.05
	done
	echo "${0##*/}: $program did not start:" >&2
	cat "$log" >&2
	exit 1
}

start mooncake_master '.* rpc=127.0.0.1:\([0-9]*\).*' --port=0 --metrics_port=0 \
	--rpc_address=127.0.0.1 --metrics_host=127.0.0.1
export MOONCAKE_MASTER=127.0.0.1:$found
start mooncake_nof_target '^ready \(.*\)' --listen 127.0.0.1:0 \
	--namespace "$dir/disk.img:1g"
target=$found
start mooncake_store_service '.* url=\([^ ]*\).*' --host=127.0.0.1 --port=0 \
	-D local_hostname=127.0.0.1 -D global_segment_size=64mb
mooncake_ssd_register --discover "$target"
mooncakectl status

if [ $# -gt 0 ]; then
	"$@"
	exit
fi
echo "--- hello.py"
python3 "$here/hello.py"
echo "--- batch.py"
python3 "$here/batch.py"
if command -v cc >/dev/null && command -v pkg-config >/dev/null; then
	echo "--- hello.c"
	# shellcheck disable=SC2046
	cc "$here/hello.c" -o "$dir/hello" \
		$(pkg-config --cflags --libs mooncake_store)
	"$dir/hello"
fi
