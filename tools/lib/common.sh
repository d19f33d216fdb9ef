# SPDX-License-Identifier: Apache-2.0
# Sourced by the tools: where the project is, saying things, installing.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# packages KIND... : the names of packages.txt of these kinds
packages() {
	local kind
	for kind in "$@"; do
		sed -n "s/^$kind //p" "$root/tools/lib/packages.txt"
	done
}

is_installed() {
	dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null |
		grep -qx installed
}

# install KIND... : what is missing of these kinds, with apt; nothing else
install() {
	local missing=() p as_root=() out
	command -v dpkg-query >/dev/null || {
		say "${0##*/}: no dpkg here: taking for granted that the packages of tools/lib/packages.txt are there"
		return 0
	}
	for p in $(packages "$@"); do
		is_installed "$p" || missing+=("$p")
	done
	[ ${#missing[@]} -eq 0 ] && return 0
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null ||
			die "these packages are missing and installing needs root or sudo; as root: apt-get install ${missing[*]}"
		as_root=(sudo)
	fi
	say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
	if ! out=$({ "${as_root[@]}" apt-get update -qq &&
		"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends \
			"${missing[@]}"; } 2>&1 </dev/null); then
		tail -n 20 <<<"$out" >&2
		die "apt-get could not install: ${missing[*]}"
	fi
}

# unpack PACKAGE DIR : its files alone, nothing is installed or started
unpack() {
	local package=$1 dir=$2 out
	mkdir -p "$dir"
	if ! out=$({ cd "$dir" && apt-get download -qq "$package" &&
		dpkg -x "$package"_*.deb . && rm -f "$package"_*.deb; } 2>&1); then
		say "$package could not be fetched; what needs it is skipped: ${out##*$'\n'}"
	fi
}

# build DIR [MESON OPTION...] : configures when needed, then compiles.  Output
# goes to DIR.log and is shown when something fails.
build() {
	local dir=$1 log=$1.log rc=0
	shift
	{ mkdir -p "$(dirname "$dir")" && : >>"$log"; } 2>/dev/null ||
		die "cannot write $log: build elsewhere (tools/demo --build-dir DIR)"
	if [ ! -f "$dir/build.ninja" ]; then
		[ -d "$dir/meson-private" ] || [ -z "$(ls -A "$dir" 2>/dev/null)" ] ||
			die "$dir holds something else: name an empty folder"
		rm -rf "$dir"
		meson setup "$dir" "$root" "$@" >"$log" 2>&1 </dev/null || {
			tail -n 30 "$log" >&2
			die "meson could not configure $dir (log: $log)"
		}
	fi
	if [ -t 2 ]; then
		ninja -C "$dir" 2>&1 </dev/null | (
			trap '' INT # Ctrl-C is ninja's to tell
			tee "$log" | awk '/^\[[0-9]+\/[0-9]+\]/ {
				printf "\r\033[K%.78s", $0; fflush() }' >&2
		) || rc=${PIPESTATUS[0]}
		printf '\r\033[K' >&2
	else
		ninja -C "$dir" >"$log" 2>&1 </dev/null || rc=$?
	fi
	if [ "$rc" -ne 0 ]; then
		! grep -q 'interrupted by user' "$log" || exit 130
		grep -aE -m 40 'FAILED|error|warning:' "$log" >&2 ||
			tail -n 20 "$log" >&2
		die "the build failed (log: $log)"
	fi
}
