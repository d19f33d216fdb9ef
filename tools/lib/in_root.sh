#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# in_root.sh - the part of tools/check-package that runs in the clean root,
# with the packages in /packages.  Prints a line per check.
set -euo pipefail

failed=0
programs='mooncake_master mooncake_http_metadata_server mooncake_nof_target
mooncake_store_service mc_store_rest_server mooncake_ssd_register
mooncake_ssd_unregister spdk_tgt_create nof_worker_pool_bench mooncakectl'
modules='mooncake_store_service http_metadata_server mooncake_ssd_register
mooncake_ssd_unregister spdk_tgt_create'

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

apt_install() { apt-get install -y -q --no-install-recommends "$@"; }

dir=$(mktemp -d)
pids=()
stop() {
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :
	wait
	pids=()
}
trap 'stop; rm -rf "$dir"' EXIT

# start PATTERN COMMAND... : sets $found to what group 1 of PATTERN matched
start() {
	local pattern=$1 log=$dir/log.$RANDOM i
	shift
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

every_program() {
	local p
	for p in $programs; do
		echo "$p"
		"$p" --version
		"$p" --help | grep '^Usage: '
	done
}

every_module() {
	local m
	for m in $modules; do
		echo "$m"
		"$1" -m "mooncake.$m" --help | grep '^Usage: '
	done
}

every_page() {
	local p
	for p in $programs; do
		[ -s "/usr/share/man/man8/$p.8.gz" ] ||
			[ -s "/usr/share/man/man1/$p.1.gz" ] ||
			{ echo "no page for $p"; return 1; }
	done
}

units() {
	local found
	[ "$(find /lib/systemd/system -name 'mooncake_*.service' | wc -l)" -eq 4 ]
	found=$(find /etc/systemd/system -name 'mooncake*')
	[ -z "$found" ] || { echo "enabled: $found"; return 1; }
	found=$(systemd-analyze verify --man=no \
		/lib/systemd/system/mooncake_*.service 2>&1 | grep mooncake || :)
	[ -z "$found" ] || { echo "$found"; return 1; }
}

completions() {
	local f
	for f in /usr/share/zsh/vendor-completions/_mooncake* \
		/usr/share/zsh/vendor-completions/_spdk_tgt_create; do
		zsh -n "$f"
	done
	zsh -c 'autoload -U compinit && compinit -u -d /tmp/zcomp &&
		[[ ${_comps[mooncake_master]} == _mooncake_master ]]'
	# As a shell does it: bash-completion loads the file by the name.
	bash -c '. /usr/share/bash-completion/bash_completion
		_completion_loader mooncakectl || [ $? -eq 124 ]
		COMP_WORDS=(mooncakectl seg) COMP_CWORD=1
		_mooncakectl && [ "${COMPREPLY[0]}" = segments ]'
}

conffiles() {
	local f=/etc/mooncake/master.yaml
	echo 'rpc_port: 50099' >>$f
	apt_install --reinstall /packages/mooncake-master_*.deb
	grep -q 50099 $f
}

build_with_library() {
	apt_install gcc libc6-dev pkg-config
	# shellcheck disable=SC2046
	gcc /usr/share/doc/libmooncake-store-dev/examples/hello.c -o "$dir/hello" \
		$(pkg-config --cflags --libs mooncake_store)
	ldd "$dir/hello" | grep 'libmooncake_store.so.0 => /'
}

# guide PYTHON : master, metadata server, target, store service, registration,
# put and get, and out again, as docs/deployment.md has it
guide() {
	local python=$1 master target disk
	disk=$(mktemp -d "$dir/disk.XXXX")/disk.img
	start '.* rpc=[0-9.]*:\([0-9]*\).*' mooncake_master --port=0 \
		--metrics_port=0 --rpc_address=127.0.0.1 --metrics_host=127.0.0.1
	master=127.0.0.1:$found
	start '.*\(http:[^ ]*\).*' "$python" -m mooncake.http_metadata_server \
		--host=127.0.0.1 --port=0
	start '^ready \(.*\)' mooncake_nof_target --listen 127.0.0.1:0 \
		--namespace "$disk:1g"
	target=$found
	sed "s/127.0.0.1:50051/$master/; s/4gb/64mb/; s/localhost/127.0.0.1/" \
		"$dir/store_service.json" >"$dir/service.json"
	start '.* url=\([^ ]*\).*' "$python" -m mooncake.mooncake_store_service \
		--config="$dir/service.json" --host=127.0.0.1 --port=0
	"$python" -m mooncake.mooncake_ssd_register --master="$master" \
		--discover="$target"
	MOONCAKE_MASTER=$master "$python" /packages/hello.py |
		grep "b'world'"
	MOONCAKE_MASTER=$master "$python" - <<'PY'
import os
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
assert s.setup({"local_hostname": "127.0.0.1", "global_segment_size": 0,
                "metadata_server": "P2PHANDSHAKE", "local_buffer_size": 0,
                "master_server_addr": os.environ["MOONCAKE_MASTER"],
                "replica_num": 0, "nof_replica_num": 1}) == 0
value = os.urandom(3000001)
assert s.put("ssd", value) == 0 and s.get("ssd") == value
s.close()
PY
	mooncakectl --master="$master" ls | grep ssd
	"$python" -m mooncake.mooncake_ssd_unregister --master="$master" \
		--discover="$target"
	stop
}

# --- packages ---

check "apt-get update" apt-get update -q
check "apt install ./mooncake-*.deb" apt_install /packages/mooncake-*.deb
check "apt install of the library and python3-mooncake" \
	apt_install /packages/*.deb
cp /etc/mooncake/store_service.json "$dir/"
check "every program answers --version and --help" every_program
check "every Python module answers --help" every_module /usr/bin/python3
check "every program has a man page" every_page
check "the guide: master, target, store service, register, put, get" \
	guide /usr/bin/python3
check "systemd, zsh, bash-completion" apt_install systemd zsh bash-completion
check "units are right and none is enabled" units
check "completion" completions
check "a changed configuration stays" conffiles
check "a C program builds against the library" build_with_library

# --- the wheel, where the libraries of the packages are no longer ---

purge() {
	apt-get purge -y -q --autoremove '*mooncake*' gcc
	[ ! -e /etc/mooncake ]
	[ ! -e /usr/bin/mooncake_master ]
	if dpkg-query -W -f '${Status} ${Package}\n' |
		grep -E ' installed (.*mooncake.*|libisal2)$'; then
		return 1
	fi
}
in_venv() {
	apt_install python3-venv
	python3 -m venv "$dir/venv"
	"$dir/venv/bin/pip" install -q --no-index /packages/mooncake-*.whl
}
check "purged without a trace" purge
check "pip install mooncake-*.whl" in_venv
PATH=$dir/venv/bin:$PATH
hash -r
check "every console script answers --version and --help" every_program
check "every Python module of the wheel" every_module "$dir/venv/bin/python3"
check "the guide with the wheel alone" guide "$dir/venv/bin/python3"
[ "$failed" -eq 0 ] || { echo "$failed failed"; exit 1; }
echo "all passed"
