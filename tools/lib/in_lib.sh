# SPDX-License-Identifier: Apache-2.0
# Sourced inside the clean root of tools/check-package: a line per check,
# programs as children.
# shellcheck shell=bash

failed=0
dir=$(mktemp -d)
pids=()

# check NAME COMMAND... : its output is shown when it fails
check() {
	local name=$1 out rc
	shift
	# Not "if out=…": a function would then go on after what failed.
	set +e
	out=$(set -e; trap stop EXIT; "$@" 2>&1)
	rc=$?
	set -e
	if [ "$rc" -eq 0 ]; then
		echo "ok      $name"
	else
		echo "FAILED  $name"
		printf '%s\n' "${out:-no output}" | tail -n 30 | sed 's/^/        /'
		failed=$((failed + 1))
	fi
}

# no COMMAND... : it must fail ("!" alone would let everything pass)
no() {
	if "$@"; then
		echo "this should fail: $*"
		return 1
	fi
}

apt_install() { apt-get install -y -q --no-install-recommends "$@"; }

stop() {
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :
	wait
	pids=()
}

# start PATTERN COMMAND... : sets $found to what group 1 of PATTERN matched,
# and $log to the file of its output
start() {
	local pattern=$1 i
	log=$dir/log.$RANDOM
	shift
	: >"$log" # there before it is read
	"$@" >"$log" 2>&1 &
	pids+=($!)
	for ((i = 0; i < 300; i++)); do
		found=$(sed -n "s/$pattern/\1/p" "$log" | head -n 1)
		[ -z "$found" ] || return 0
		kill -0 $! 2>/dev/null || break
		sleep 0.1
	done
	echo "$* did not start:"
	cat "$log"
	return 1
}

# wait_for WHAT COMMAND... : until it succeeds, at most a minute
wait_for() {
	local what=$1 i
	shift
	for ((i = 0; i < 300; i++)); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.2
	done
	echo "not in a minute: $what"
	"$@"
}

# page URL : without any proxy; a small root has no curl
page() {
	/usr/bin/python3 -c '
import sys, urllib.request as u
with u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=20) as r:
    print(r.read().decode())' "$1"
}

finish() {
	stop
	rm -rf "$dir"
	[ "$failed" -eq 0 ] || { echo "$failed failed"; exit 1; }
}
