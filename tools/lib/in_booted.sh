#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# in_booted.sh - the part of tools/check-package that runs as a service of the
# clean root, booted with systemd in a container: the units as shipped.
#
#   in_booted.sh first|second   the second time after a reboot
#
# Prints a line per check, then switches the container off.
set -euo pipefail
# shellcheck source=tools/lib/in_lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/in_lib.sh"
trap 'stop; rm -rf "$dir"; systemctl --no-block poweroff' EXIT

nqn=nqn.2026-11.io.mooncake:booted
value=/packages/value # there after a reboot, too
# The SSD node of the guide: this machine, over SSH.
node='ip:127.0.0.1 backend:mooncake'
disk=/srv/pool.img
deployed=nqn.2016-06.io.spdk:cnode1
endpoint="traddr:127.0.0.1 trsvcid:4420 subnqn:$nqn ns:1"
every='mooncake_master mooncake_http_metadata_server mooncake_nof_target
mooncake_store_service'

is_active() { systemctl is-active "$1"; }
prop() { systemctl show -P "$2" "$1"; }

# expect VALUE UNIT PROPERTY
expect() {
	local have
	have=$(prop "$2" "$3")
	[ "$have" = "$1" ] || { echo "$2: $3 is '$have', not '$1'"; return 1; }
}

# As a user without a name in /etc/passwd, with nothing of root's.
is_confined() {
	local pid
	pid=$(prop "$1" MainPID)
	[ "$pid" -gt 1 ]
	grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status"
	[ "$(stat -c %u "/proc/$pid")" -ge 61184 ]
	grep -q '^CapEff:.*0000000000000000$' "/proc/$pid/status"
	grep -q '^NoNewPrivs:.*1$' "/proc/$pid/status"
	grep -q '^Seccomp:.*2$' "/proc/$pid/status"
}

# What the filter of system calls leaves to it.
uses_uring() {
	local pid
	pid=$(prop "$1" MainPID)
	find "/proc/$pid/fd" -lname 'anon_inode:\[io_uring\]' | grep -q . ||
		{ ls -l "/proc/$pid/fd"; journalctl -u "$1" | tail; return 1; }
}

as_shipped() {
	local unit
	for unit in $every; do
		systemctl start "$unit"
	done
	for unit in mooncake_master mooncake_http_metadata_server; do
		is_active $unit
	done
	# skipped, which is no failure, until it is told what to serve
	no is_active mooncake_nof_target
	no systemctl is-failed mooncake_nof_target
	journalctl -u mooncake_nof_target | grep "exec-condition"
}

configure() {
	sed -i 's/localhost/127.0.0.1/; s/4gb/64mb/' \
		/etc/mooncake/store_service.json
	cat >/etc/mooncake/nof_target.conf <<-END
		MOONCAKE_NOF_TARGET_OPTIONS="--listen 0.0.0.0:4420 --nqn $nqn --namespace /var/lib/mooncake/pool.img:256m --rpc_socket /run/mooncake/nof.sock --state /var/lib/mooncake/nof.json"
	END
	systemctl restart mooncake_nof_target mooncake_store_service
	is_active mooncake_nof_target
	[ -s /var/lib/mooncake/pool.img ]
	wait_for "the segment of the store service" has_memory
	mooncakectl target --rpc_socket=/run/mooncake/nof.sock list | grep "$nqn"
}

has_memory() { page http://127.0.0.1:9003/metrics | grep -E '^segment_total_capacity_bytes.* [1-9]'; }
is_online() { page http://127.0.0.1:9003/metrics | grep '^nof_segment_online{.* 1$'; }
are_online() { [ "$(is_online | wc -l)" -eq 2 ]; }

put_get() {
	mooncake_ssd_register --master=127.0.0.1 --endpoint="$endpoint"
	head -c 3000001 /dev/urandom >"$value"
	mooncakectl put --master=127.0.0.1 --replica_num=0 --nof_replica_num=1 \
		key "$value"
	same_bytes
}

# same_bytes [KEY]
same_bytes() {
	rm -f "$dir/back"
	mooncakectl get --master=127.0.0.1 "${1:-key}" --output="$dir/back"
	cmp "$value" "$dir/back"
}

doctor() {
	mooncakectl doctor --master=127.0.0.1
}

# Killed, it comes back by itself, and what it held with it.
comes_back() {
	local pid
	pid=$(prop "$1" MainPID)
	kill -KILL "$pid"
	wait_for "$1 is back" is_another "$1" "$pid"
	wait_for "the pool is online" is_online
	wait_for "the object is there" same_bytes
}
is_another() { is_active "$1" && [ "$(prop "$1" MainPID)" != "$2" ]; }

reload() {
	local pid
	pid=$(prop mooncake_nof_target MainPID)
	systemctl reload mooncake_nof_target
	sleep 0.5
	expect "$pid" mooncake_nof_target MainPID
	is_active mooncake_nof_target
}

# Stopped under load it answers what is under way, and is no failure.
drains() {
	nof_worker_pool_bench --op=read --duration_sec=60 --warmup_sec=0 \
		--report_interval_ms=200 --endpoints="$endpoint" \
		>"$dir/bench" 2>&1 &
	pids+=($!)
	wait_for "the bench reads" grep -q iops "$dir/bench"
	systemctl stop mooncake_nof_target
	expect success mooncake_nof_target Result
	expect 0 mooncake_nof_target ExecMainStatus
	stop
	systemctl start mooncake_nof_target
	wait_for "the pool is online" is_online
	wait_for "the object is there" same_bytes
}

# root's file, which a dynamic user can't read, comes as a credential
keys() {
	local conf=/etc/mooncake/nof_target.conf
	local run=/run/credentials/mooncake_nof_target.service
	local drop=/etc/systemd/system/mooncake_nof_target.service.d
	cp $conf "$dir/conf"
	mooncakectl gen-tls-key --output=/etc/mooncake/tls.key
	mkdir -p $drop
	printf '[Service]\nLoadCredential=tls.key:/etc/mooncake/tls.key\n' \
		>$drop/keys.conf
	sed -i "s|0.0.0.0:4420|0.0.0.0:4420,tls --tls_key *=$run/tls.key|" $conf
	systemctl daemon-reload
	systemctl restart mooncake_nof_target
	MC_NVME_TLS_KEY_FILE=/etc/mooncake/tls.key \
		mooncakectl doctor --endpoint="$endpoint"
	no mooncakectl doctor --endpoint="$endpoint"
	rm -r $drop /etc/mooncake/tls.key
	cp "$dir/conf" $conf
	systemctl daemon-reload
	systemctl restart mooncake_nof_target
	wait_for "the pool is online" is_online
}

# A release is taken when an operator restarts, not in the midst of work.
upgrade() {
	local pid
	pid=$(prop mooncake_nof_target MainPID)
	dpkg -i --force-confold /packages/mooncake-target_*.deb
	expect "$pid" mooncake_nof_target MainPID
	same_bytes
}

stops_all() {
	local unit
	for unit in $every; do
		systemctl stop "$unit"
		expect success "$unit" Result ||
			{ systemctl status "$unit"; return 1; }
	done
	for unit in $every; do
		systemctl start "$unit"
	done
}

# --- steps 4 to 8 of the guide, over a real sshd ---

# A host key that is known, and a key of the operator's.
log_in() {
	install -d -m 700 /root/.ssh
	ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
	cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
	echo "127.0.0.1 $(cat /etc/ssh/ssh_host_ed25519_key.pub)" \
		>/root/.ssh/known_hosts
	wait_for "sshd" ssh -o BatchMode=yes 127.0.0.1 true
}

# says WORDS COMMAND... : it succeeds and prints them
says() {
	local words=$1
	shift
	"$@" | tee "$dir/said"
	grep -qF -- "$words" "$dir/said"
}

deploys() {
	local text="$node disk:$disk:256m port:4422 nqn:$deployed"
	says "write the unit" python3 -m mooncake.spdk_tgt_create --dry_run \
		--spdk_target_info="$text"
	[ ! -e $disk ]
	says "Successfully deployed: 1" python3 -m mooncake.spdk_tgt_create \
		--spdk_target_info="$text"
	says "(0 steps)" python3 -m mooncake.spdk_tgt_create \
		--spdk_target_info="$text"
	is_active mooncake-nof-target
	systemctl is-enabled mooncake-nof-target
}

registers() {
	says "Successfully registered: 1" mooncake_ssd_register \
		--master_server_address=127.0.0.1:50051 --spdk_target_info="$node"
	says "Already registered (skipped): 1" mooncake_ssd_register \
		--master_server_address=127.0.0.1:50051 --spdk_target_info="$node"
	page http://127.0.0.1:9003/get_all_segments | grep -F "$deployed"
	mooncakectl --master=127.0.0.1 pool paths | grep -F "127.0.0.1:4422"
}

# One namespace by its name, then all that the node serves.
unregisters() {
	says "Successfully unregistered: 1" mooncake_ssd_unregister \
		--master_server_address=127.0.0.1:50051 \
		--spdk_target_info="ip:127.0.0.1 port:4422 ns:1 nqn:$deployed"
	registers
	says "Successfully unregistered: 1" mooncake_ssd_unregister \
		--master_server_address=127.0.0.1:50051 --drain \
		--spdk_target_info="$node"
	page http://127.0.0.1:9003/get_all_segments >"$dir/segments"
	no grep -F "$deployed" "$dir/segments"
}

measures() {
	says "failed_ops=0" nof_worker_pool_bench --op=read --runtime=1 \
		--ramp_time=0 --endpoints="traddr:127.0.0.1 trsvcid:4422 \
subnqn:$deployed trtype:TCP adrfam:IPv4 ns:1"
}

# On both, so that it is read from either of them.
put_twice() {
	registers
	mooncakectl put --master=127.0.0.1 --replica_num=0 --nof_replica_num=2 \
		twice "$value"
	same_bytes twice
	comes_back mooncake-nof-target
}

# What spdk_tgt_create has written there.
undeploy() {
	systemctl disable --now mooncake-nof-target
	rm -r /etc/mooncake/mooncake-nof-target.* $disk \
		/etc/systemd/system/mooncake-nof-target.service
	systemctl daemon-reload
}

guide() {
	check "sshd lets the operator in" log_in
	check "spdk_tgt_create over SSH, with a unit" deploys
	check "mooncake_ssd_register over SSH" registers
	check "mooncake_ssd_unregister, one and all" unregisters
	check "the bench on it" measures
	check "an object on two namespaces; one is killed and comes back" \
		put_twice
}

first() {
	local unit
	check "units start as shipped; the target waits to be configured" \
		as_shipped
	check "configured, target and store service run" configure
	for unit in $every; do
		check "$unit is confined" is_confined "$unit"
	done
	check "io_uring passes the filter of system calls" \
		uses_uring mooncake_nof_target
	check "register, put, get" put_get
	check "the doctor finds no failure" doctor
	check "the target is killed and comes back" \
		comes_back mooncake_nof_target
	check "the master is killed and knows everything again" \
		comes_back mooncake_master
	check "reload" reload
	check "the target is stopped under load" drains
	check "keys as credentials" keys
	check "an upgrade restarts nothing" upgrade
	check "all stop without failure, and start" stops_all
	guide
	# shellcheck disable=SC2086
	check "enabled" systemctl enable $every
}

after_boot() {
	local unit
	for unit in $every mooncake-nof-target; do
		wait_for "$unit" is_active "$unit"
	done
	wait_for "the segment of the store service" has_memory
	wait_for "the object is there" same_bytes
	wait_for "both namespaces are online" are_online
	same_bytes twice
}

second() {
	check "enabled, all run after a reboot; the objects are there" after_boot
	check "what was deployed is taken away" undeploy
	check "apt-get remove stops what runs" removed
}

removed() {
	dpkg -r mooncake-target
	no is_active mooncake_nof_target
	no pgrep -x mooncake_nof_ta
	[ -s /etc/mooncake/nof_target.conf ]
}

[ -x /usr/bin/mooncake_nof_target ] || { echo "no packages here"; exit 2; }
"$1"
finish
echo "booted: all passed"
