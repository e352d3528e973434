#!/bin/sh
# Installs what is missing on Debian 12 (as root, or with sudo), by groups: build test demo bench fuzz, and django: what the
# demo falls back on where PyPI can't be reached, regress and instructions. Without arguments: the first five. Says nothing when nothing is missing.
set -eu

want() {
	case $1 in
	build) echo gcc libc6-dev make pkgconf libevent-dev libssl-dev libxxhash-dev libpg-query-dev libprotobuf-c-dev ;;
	test) echo libcmocka-dev postgresql postgresql-contrib python3 python3-pytest python3-pytest-xdist python3-psycopg openssl ;;
	demo) echo postgresql python3 python3-venv ;;
	bench) echo postgresql python3 pgbouncer openssl strace dpkg-dev libc-ares-dev ;;
	instructions) echo python3 valgrind libc6-dbg ;;
	regress) echo postgresql libpq-dev python3 ;;
	# The sanitizers' runtime is only recommended by clang, and its name carries the version.
	fuzz) echo clang "libclang-rt-$(clang_version)-dev" libc6-dev ;;
	django) echo python3-django python3-psycopg2 python3-psycopg ;;
	*) echo "deps.sh: no group $1: build test demo bench fuzz instructions regress django" >&2; exit 2 ;;
	esac
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

clang_version() {
	v=$(dpkg-query -W -f '${Version}' clang 2>/dev/null) || v=
	[ -n "$v" ] || v=$(apt-cache show clang 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
	v=${v#*:}
	v=${v%%.*}
	echo "${v:-14}"
}

[ $# -gt 0 ] || set -- build test demo bench fuzz
command -v dpkg-query >/dev/null || { echo "deps.sh knows Debian only; see the groups in it for what is needed" >&2; exit 1; }
missing=
for group; do
	packages=$(want "$group")
	for p in $packages; do
		case " $missing " in *" $p "*) continue ;; esac
		installed "$p" || missing="$missing $p"
	done
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || { echo "missing:$missing; install them, or install sudo" >&2; exit 1; }
	sudo=sudo
fi

# Installing a server must not leave one running that was not there: no cluster is made and no service started meanwhile.
policy=/usr/sbin/policy-rc.d
made_policy=
cleanup() {
	[ -z "$made_policy" ] || $sudo rm -f $policy
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
brings() {
	case " $missing " in *" $1 "*) ;; *) return 1 ;; esac
}
if brings postgresql || brings pgbouncer; then
	if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
		$sudo mkdir -p /etc/postgresql-common
		echo "create_main_cluster = false" | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
	fi
	if [ ! -e $policy ]; then
		made_policy=1
		printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
		$sudo chmod 755 $policy
	fi
fi

install() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}
echo "installing:$missing"
# Lists that are old or not there yet show as a failure to find or to fetch.
log=$(mktemp)
if ! install >"$log" 2>&1; then
	if ! { $sudo apt-get update -qq && install; } >"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		exit 1
	fi
fi
rm -f "$log"

# The package enables its service for the next boot; the one it installs is an example that fits nobody.
if brings pgbouncer; then
	if [ -d /run/systemd/system ]; then
		$sudo systemctl disable -q pgbouncer.service >/dev/null 2>&1 || true
	elif command -v update-rc.d >/dev/null; then
		$sudo update-rc.d pgbouncer disable >/dev/null 2>&1 || true
	fi
fi
