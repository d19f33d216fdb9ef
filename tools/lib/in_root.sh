#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# in_root.sh - the parts of tools/check-package that run in the clean root (in
# a chroot), with the packages in /packages.  Prints a line per check.
#
#   in_root.sh packages   installs them, goes through the guide
#   in_root.sh purge      removes them again, then the wheel
set -euo pipefail
# shellcheck source=tools/lib/in_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/in_lib.sh"
trap 'stop; rm -rf "$dir"' EXIT

programs='mooncake_master mooncake_http_metadata_server mooncake_nof_target
mooncake_store_service mc_store_rest_server mooncake_ssd_register
mooncake_ssd_unregister spdk_tgt_create nof_worker_pool_bench mooncakectl'
modules='mooncake_store_service http_metadata_server mooncake_ssd_register
mooncake_ssd_unregister spdk_tgt_create'

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
	for p in $modules; do
		[ -s "/usr/share/man/man7/mooncake.$p.7.gz" ] ||
			{ echo "no page for mooncake.$p"; return 1; }
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

# An older release whose shipped configuration was another one.
older() {
	local name
	mkdir "$dir/older"
	for name in master target store; do
		dpkg-deb -R /packages/mooncake-"$name"_*.deb "$dir/older/$name"
		sed -i 's/^Version: .*/Version: 0.0.9/' \
			"$dir/older/$name/DEBIAN/control"
		sed -i '1i # of 0.0.9' "$dir/older/$name"/etc/mooncake/*.{yaml,conf} \
			2>/dev/null || :
		dpkg-deb -b "$dir/older/$name" "$dir/older/mooncake-$name.deb"
	done
}

upgrade() {
	apt_install binutils
	older
	dpkg -i --force-downgrade --force-confnew "$dir"/older/*.deb
	grep -q '0.0.9' /etc/mooncake/master.yaml
	echo 'rpc_port: 50099' >>/etc/mooncake/master.yaml
	# noninteractive, no terminal: as unattended upgrades do
	apt_install -o Dpkg::Options::=--force-confdef \
		-o Dpkg::Options::=--force-confold /packages/mooncake-*.deb
	[ "$(dpkg-query -W -f '${Version}' mooncake-master)" != 0.0.9 ]
	# what was changed here stays, with the new one beside it
	grep -q 50099 /etc/mooncake/master.yaml
	[ -e /etc/mooncake/master.yaml.dpkg-dist ]
	# what was not is the new release's
	no grep -q '0.0.9' /etc/mooncake/nof_target.conf
	mv /etc/mooncake/master.yaml.dpkg-dist /etc/mooncake/master.yaml
}

conffiles() {
	local f=/etc/mooncake/master.yaml
	cp $f "$dir/master.yaml"
	echo 'rpc_port: 50099' >>$f
	apt_install --reinstall /packages/mooncake-master_*.deb
	grep -q 50099 $f
	cp "$dir/master.yaml" $f
}

build_with_library() {
	apt_install gcc libc6-dev pkg-config
	# shellcheck disable=SC2046
	gcc /usr/share/doc/libmooncake-store-dev/examples/hello.c -o "$dir/hello" \
		$(pkg-config --cflags --libs mooncake_store)
	ldd "$dir/hello" | grep 'libmooncake_store.so.0 => /'
}

# put_in_pool MASTER METADATA PYTHON : as LMCache does from the guide's keys
put_in_pool() {
	MOONCAKE_MASTER=$1 METADATA=$2 MC_NOF_WORKERS=4 \
		MC_NOF_SUBMIT_CHUNK_BYTES=131072 \
		MC_NOF_INFLIGHT_BYTES_LIMIT=33554432 "$3" - <<'PY'
import os
from mooncake.store import MooncakeDistributedStore
s = MooncakeDistributedStore()
assert s.setup({"local_hostname": "127.0.0.1", "protocol": "tcp",
                "device_name": "", "metadata_server": os.environ["METADATA"],
                "global_segment_size": 0, "local_buffer_size": 16777216,
                "master_server_address": os.environ["MOONCAKE_MASTER"],
                "enable_mooncake_nof_pool": True}) == 0
value = os.urandom(3000001)
assert s.put("ssd", value) == 0 and s.get("ssd") == value
replicas = s.get_replica_desc("ssd")
assert replicas and not any(r.is_memory_replica() for r in replicas)
s.close()
PY
}

# guide PYTHON : docs/deployment.md: master, metadata server, target, store
# service, registration, put and get, metrics, bench, and out again
guide() {
	local python=$1 master admin metadata target path disk
	local nqn=nqn.2026-11.io.mooncake:ssd
	disk=$(mktemp -d "$dir/disk.XXXX")
	start '.* rpc=[0-9.]*:\([0-9]*\).*' mooncake_master --port=0 \
		--metrics_port=0 --rpc_address=127.0.0.1 --metrics_host=127.0.0.1
	master=127.0.0.1:$found
	admin=$(sed -n 's/.*metrics=\(http:[^ ]*\).*/\1/p' "$log" | head -n 1)
	start '.*\(http:[^ ]*\).*' "$python" -m mooncake.http_metadata_server \
		--host=127.0.0.1 --port=0
	metadata=$found
	start '^ready \(.*\)' mooncake_nof_target --listen 127.0.0.1:0 \
		--nqn "$nqn" --namespace "$disk/1.img:1g" --namespace "$disk/2.img:1g"
	target=$found
	path="traddr:127.0.0.1 trsvcid:${target##*:} subnqn:$nqn trtype:TCP"
	sed "s/127.0.0.1:50051/$master/; s/4gb/64mb/; s/localhost/127.0.0.1/" \
		"$dir/store_service.json" >"$dir/service.json"
	start '.* url=\([^ ]*\).*' "$python" -m mooncake.mooncake_store_service \
		--config="$dir/service.json" --host=127.0.0.1 --port=0
	nof_worker_pool_bench --op=write --verify --duration_sec=1 --warmup_sec=0 \
		--range_bytes=32m --iodepth=4 --endpoints="$path ns:2" \
		--yes_overwrite | tee "$dir/bench"
	grep -q '^failed_ops=0' "$dir/bench"
	"$python" -m mooncake.mooncake_ssd_register --master="$master" \
		--discover="$target" --force
	MOONCAKE_MASTER=$master "$python" /packages/hello.py |
		grep "b'world'"
	put_in_pool "$master" "$metadata" "$python"
	mooncakectl --master="$master" ls | grep ssd
	mooncakectl pool list --master="$master"
	page "$admin/metrics" >"$dir/metrics"
	grep '^master_nof_allocated_bytes [1-9]' "$dir/metrics"
	[ "$(grep -c '^nof_segment_online{.* 1$' "$dir/metrics")" -eq 2 ]
	mooncakectl doctor --master="$master" --admin="${admin#http://}" \
		>"$dir/doctor" || { cat "$dir/doctor"; return 1; }
	"$python" -m mooncake.mooncake_ssd_unregister --master="$master" \
		--spdk_target_info="ip:127.0.0.1 port:${target##*:} ns:2 nqn:$nqn"
	"$python" -m mooncake.mooncake_ssd_unregister --master="$master" \
		--discover="$target"
	mooncakectl segments --master="$master" --json >"$dir/segments"
	no grep -q "$nqn" "$dir/segments"
	stop
}

purge() {
	local found
	apt-get purge -y -q --autoremove '*mooncake*' gcc binutils
	if dpkg-query -W -f '${Status} ${Package}\n' |
		grep -E ' installed (.*mooncake.*|libisal2)$'; then
		return 1
	fi
	# an operator's data, of the booted target and master
	[ "$(ls /var/lib/private/mooncake)" = pool.img ]
	rm -r /var/lib/mooncake /var/lib/mooncake-master /var/lib/private/mooncake*
	found=$(find / -xdev \( -path /proc -o -path /packages -o -path "$dir" \) \
		-prune -o -iname '*mooncake*' -print)
	[ -z "$found" ] || { echo "left behind: $found"; return 1; }
}

in_venv() {
	apt_install python3-venv
	no command -v gcc cc || { echo "there is a compiler"; return 1; }
	python3 -m venv "$dir/venv"
	"$dir/venv/bin/pip" install -q --no-index /packages/mooncake-*.whl
}

install_packages() {
	check "apt-get update" apt-get update -q
	check "apt install ./mooncake-*.deb" apt_install /packages/mooncake-*.deb
	check "apt install of the library and python3-mooncake" \
		apt_install /packages/*.deb
	cp /etc/mooncake/store_service.json "$dir/"
	check "every program answers --version and --help" every_program
	check "every Python module answers --help" every_module /usr/bin/python3
	check "every program and module has a man page" every_page
	check "the guide, from master to unregister" guide /usr/bin/python3
	check "a changed configuration stays" conffiles
	check "an upgrade keeps what was changed, renews what was not" upgrade
	check "a C program builds against the library" build_with_library
	check "systemd, sshd, zsh, bash-completion" \
		apt_install systemd-sysv dbus openssh-server openssh-client \
		procps zsh bash-completion
	check "units are right and none is enabled" units
	check "completion" completions
}

# The libraries of the packages are no longer there for the wheel.
remove_packages() {
	cp /etc/mooncake/store_service.json "$dir/"
	check "purged without a trace" purge
	check "pip install mooncake-*.whl, without a compiler" in_venv
	PATH=$dir/venv/bin:$PATH
	hash -r
	check "every console script answers --version and --help" every_program
	check "every Python module of the wheel" \
		every_module "$dir/venv/bin/python3"
	check "the guide with the wheel alone" guide "$dir/venv/bin/python3"
}

case ${1-} in
packages) install_packages ;;
purge) remove_packages ;;
*) echo "in_root.sh: packages or purge" >&2; exit 2 ;;
esac
finish
