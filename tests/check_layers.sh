#!/bin/sh
# The arrows of the architecture: server -> state -> parser, server -> auth -> parser, and nothing else. Folders that
# know and don't do include nothing that does; libpg_query is parser's alone.
cd "$(dirname "$0")/.." || exit 1
bad=0

# complain FOLDER PATTERN WHY: includes in FOLDER that match PATTERN
complain()
{
	found=$(grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]+$2" "$1"/*.c "$1"/*.h "$1"/*.inc 2>/dev/null)
	[ -z "$found" ] && return
	echo "$found" | while IFS= read -r line; do
		echo "$line: $3"
	done
	bad=1
}

ours='(parser|auth|state|server|tests|fuzz)/'
doing='<(sys/(socket|epoll|time|un|select|ioctl)|netinet/|arpa/|netdb|poll|time|syslog|fcntl|event2/|event|signal|openssl/ssl)'

for folder in parser auth state server; do
	case $folder in
	parser) may='parser/' ;;
	auth) may='(auth|parser)/' ;;
	state) may='(state|parser)/' ;;
	server) may='(server|state|auth|parser)/' ;;
	esac
	for other in parser auth state server tests fuzz; do
		echo "$other/" | grep -qE "^$may\$" || complain $folder "\"$other/" "$folder/ may include $may only"
	done
	found=$(grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' $folder/*.c $folder/*.h 2>/dev/null | grep -vE "include[[:space:]]+\"$ours")
	if [ -n "$found" ]; then
		echo "$found" | sed 's|$|: write it with its folder|'
		bad=1
	fi
	[ $folder = parser ] || complain $folder '[<"]pg_query' "libpg_query is for parser/ to use"
	[ $folder = server ] || complain $folder "$doing" "$folder/ owns no socket, clock, file or log"
done
exit $bad
