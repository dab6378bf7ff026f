#!/usr/bin/env bash
# Runs an example with a node of its own in a temporary folder, until Ctrl-C, or until
# whoever started it ends. A node that ends, or is killed, is started again.
set -euo pipefail

usage="run.sh orders|dashboard|chat|flags|discovery [--http PORT] [--grpc PORT] [--page PORT]
Ports that are not given are 8080, 9090 and 8000, or others where those are taken.
BINARY names another binary than bin/watchroute."
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
client=$root/clients/ts
programs=$root/bin/examples # where go build sees what is up to date
binary=${BINARY:-$root/bin/watchroute}
pids=() # of what was started, but the node
needed= # the one of them without which there is no example
node=
folder=

say() { printf '%s\n' "$*"; }
fail() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" > /dev/null || fail "there is no $1: $2"; }

taken() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }
free() { # PORT: it, or one below those that systems give to clients
	local port=$1
	while taken "$port"; do port=$((15000 + RANDOM % 15000)); done
	say "$port"
}

parent() { # who it is now: another when ours has ended
	local key value
	if [ -r "/proc/$$/status" ]; then
		while read -r key value; do [ "$key" != PPid: ] || say "$value"; done < "/proc/$$/status"
	else
		ps -o ppid= -p $$ | tr -d ' '
	fi
}

# A process of our own is asked for by its job: its id alone may be another's by now.
running() { [[ " $(jobs -pr | tr '\n' ' ') " == *" $1 "* ]]; }

begin() { # in a process group of its own, so that Ctrl-C comes here first
	set -m
	"$@" &
	set +m
	begun=$!
}
start() {
	begin "$@"
	pids+=("$begun")
}

stop() {
	local pid i
	for pid; do ! running "$pid" || kill "$pid" 2> /dev/null || true; done
	for pid; do
		for ((i = 0; i < 100; i++)); do
			running "$pid" || break
			sleep 0.05
		done
		! running "$pid" || kill -KILL "$pid" 2> /dev/null || true
		wait "$pid" 2> /dev/null || true
	done
}

finish() {
	local code=$?
	trap - EXIT
	trap '' INT TERM HUP
	stop ${pids[@]+"${pids[@]}"}
	[ -z "$node" ] || stop "$node"
	[ -z "$folder" ] || rm -rf "$folder"
	exit "$code"
}

serving() { # whether the node is ready
	local status=
	{ exec 3<> "/dev/tcp/127.0.0.1/$http"; } 2> /dev/null || return 1
	printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$http" >&3
	read -r -t 2 _ status _ <&3 || true
	exec 3>&-
	[ "$status" = 200 ]
}

begin_node() {
	begin bash -c 'cd "$0" && exec "$@" >> node.log 2>&1' "$folder" "$binary" "${command[@]}" --data "$folder/data" \
		--http "127.0.0.1:$http" --grpc "127.0.0.1:$grpc" --allowed-origins "http://127.0.0.1:$page" \
		--drain-time 2s --drain-spread 500ms
	node=$begun
	local i
	for ((i = 0; i < 300; i++)); do
		! serving || break
		running "$node" || break
		sleep 0.05
	done
	serving || fail "the node does not start:
$(tail -n 20 "$folder/node.log")"
	say "the node is process $node, at http://127.0.0.1:$http and for gRPC at 127.0.0.1:$grpc"
}

put() { "$binary" put --server "127.0.0.1:$grpc" "$@" > /dev/null; }

build_client() {
	need node "Node 20 or newer is needed"
	need npm "it comes with Node"
	[ -d "$client/node_modules" ] && [ -d "$here/node_modules" ] || fail "npm packages are missing: \`make npm\` installs them"
	local built=$client/dist/index.js
	if [ ! -e "$built" ] || [ -n "$(find "$client/src" "$client/package.json" "$client/tsconfig.json" -path "$client/src/gen" -prune -o -type f -newer "$built" -print)" ]; then
		say "building clients/ts"
		npm run -s build --prefix "$client"
	fi
}

open_page() {
	NODE=http://127.0.0.1:$http start node "$here/serve.mjs" "$name" "$page" > "$folder/page.log"
	needed=$begun
	until grep -q serving "$folder/page.log"; do
		running "$needed" || fail "the page cannot be served"
		sleep 0.05
	done
}

build() { # FOLDER: one of Go
	need go "Go 1.26 or newer is needed"
	say "building $1"
	(cd "$root" && go build -buildvcs=false -o "$programs/" "./clients/examples/$1")
}

name=${1:-}
[ $# -eq 0 ] || shift
http= grpc= page=
while [ $# -gt 0 ]; do
	case "$1 ${2:-}" in
		--http\ [0-9]*) http=$2 ;;
		--grpc\ [0-9]*) grpc=$2 ;;
		--page\ [0-9]*) page=$2 ;;
		*) fail "$usage" ;;
	esac
	shift 2
done
case $name in
	orders | dashboard | chat | flags | discovery) ;;
	*) fail "$usage" ;;
esac
[ -x "$binary" ] || fail "there is no $binary: \`make build\` makes it"
for variable in ${!WATCHROUTE_@}; do unset "$variable"; done # they would configure the node
trap finish EXIT
trap 'exit 0' INT TERM HUP
folder=$(mktemp -d)
http=${http:-$(free 8080)}
grpc=${grpc:-$(free 9090)}
page=${page:-$(free 8000)}
at=http://127.0.0.1:$page

command=(serve)
case $name in
	orders)
		build_client
		build orders/shop
		command=(serve --contracts shop)
		begin_node
		start "$programs/shop" --server "127.0.0.1:$grpc"
		open_page
		say "open $at/?customer=ada and, in another window, $at/?customer=grace"
		;;
	dashboard)
		build_client
		command=(demo)
		begin_node
		open_page
		say "open $at/"
		;;
	chat)
		build_client
		begin_node
		put messages/welcome '{"room": "lobby", "who": "the room", "text": "welcome"}'
		open_page
		say "open $at/?name=Ada and, in another window, $at/?name=Grace"
		;;
	flags)
		build flags
		begin_node
		put flags/dark-mode '{"on": false}'
		for instance in one two three; do
			start "$programs/flags" --server "127.0.0.1:$grpc" --name "$instance"
		done
		say "flip the flag: $binary put --server 127.0.0.1:$grpc flags/dark-mode '{\"on\": true}'"
		;;
	discovery)
		build discovery/instance
		build discovery/caller
		begin_node
		for instance in one two three; do
			start "$programs/instance" --server "127.0.0.1:$grpc" --name "$instance"
			say "instance $instance is process $begun: kill $begun"
		done
		start "$programs/caller" --server "127.0.0.1:$grpc"
		needed=$begun
		;;
esac
say "Ctrl-C ends it; kill -9 $node kills the node, and it comes back"

while [ "$(parent)" = "$PPID" ]; do
	running "$node" || begin_node
	[ -z "$needed" ] || running "$needed" || fail "what shows the example has ended"
	sleep 0.2
done
