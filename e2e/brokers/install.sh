#!/usr/bin/env bash
# Installs the brokers that the tests of sources run against, and does nothing where
# they are there:
#
#   e2e/brokers/install.sh [kafka|redis|nats|postgres|rabbitmq|mqtt]...   (default: all)
#
# Redis, PostgreSQL, RabbitMQ and Mosquitto are Debian's packages, which root installs
# (or sudo, where it asks for no password); none of their services is started. Kafka's
# jars come by Maven, NATS by Go, both into WATCHROUTE_BROKERS_CACHE (default:
# watchroute-brokers in the user's cache). What cannot be had is named at the end, and
# the exit code is then 1: the tests of the other brokers run all the same.
#
# The jars must be those of kafka.sha256. After a change of kafka.pom.xml,
# `install.sh --renew` writes it anew: review the difference.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${WATCHROUTE_BROKERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/watchroute-brokers}
nats=v2.15.2
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { echo "brokers: $*" >&2; }
have() { command -v "$1" > /dev/null; }
wanted() { [[ " $brokers " == *" $1 "* ]]; }

renew=
[ "${1:-}" != --renew ] || { renew=yes; shift; }
brokers=${*:-kafka redis nats postgres rabbitmq mqtt}
for broker in $brokers; do
	case $broker in
		kafka | redis | nats | postgres | rabbitmq | mqtt) ;;
		*) say "there is no broker $broker"; exit 2 ;;
	esac
done

# Two runs at once would undo each other's work.
mkdir -p "$cache"
if have flock; then
	exec 9> "$cache/lock"
	flock 9
fi
work=
policy=/usr/sbin/policy-rc.d
root=
kept=
finish() {
	[ -z "$work" ] || rm -rf "$work"
	if [ -n "$kept" ]; then
		$root rm -f "$policy"
		[ "$kept" = nothing ] || $root mv "$policy.watchroute" "$policy"
	fi
}
trap finish EXIT
work=$(mktemp -d "$cache/new.XXXXXX") # beside what it becomes, so that mv is atomic

java_major() { java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.specification.version = //p'; }
kafka_there() { [ -z "$renew" ] && cmp -s "$here/kafka.sha256" "$cache/kafka/kafka.sha256"; }
postgres_there() { have postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null; }

# What Debian has.
packages=
units=
need() { packages+=" $1"; units+=" ${2:-}"; }
if wanted redis && ! have redis-server; then need redis-server redis-server; fi
if wanted postgres && { ! postgres_there || ! have psql; }; then need postgresql postgresql; fi
if wanted rabbitmq && ! have rabbitmq-server; then need rabbitmq-server 'rabbitmq-server epmd.socket'; fi
if wanted mqtt && ! have mosquitto; then need mosquitto mosquitto; fi
if wanted kafka; then
	have java || need default-jre-headless
	kafka_there || have mvn || need maven
fi

# Puts a policy in place by which no package starts its service; finish takes it away.
forbid_services() {
	if [ -e "$policy.watchroute" ]; then # of a run that was killed
		$root mv "$policy.watchroute" "$policy"
	fi
	if [ -e "$policy" ]; then
		$root cp -a "$policy" "$policy.watchroute"
		kept=another
	else
		kept=nothing
	fi
	printf '#!/bin/sh\nexit 101\n' > "$work/policy"
	$root install -m 755 "$work/policy" "$policy"
}

install_packages() {
	[ "$(id -u)" = 0 ] || root='sudo -n'
	if ! have apt-get || ! $root true 2> /dev/null; then
		say "only root on a Debian machine can install from here:$packages"
		return
	fi
	say "installing$packages"
	forbid_services
	local apt="$root env DEBIAN_FRONTEND=noninteractive apt-get -qq"
	if $apt update && $apt install -y --no-install-recommends $packages > "$work/apt" 2>&1; then
		# Neither may they start with the machine.
		if [ -d /run/systemd/system ]; then
			for unit in $units; do $root systemctl disable --quiet "$unit" 2> /dev/null || true; done
		fi
	else
		[ ! -e "$work/apt" ] || tail -n 20 "$work/apt" >&2
		say 'apt-get failed'
	fi
}

install_kafka() {
	say "getting Kafka's jars"
	mkdir "$work/kafka"
	mvn -B -q --strict-checksums -f "$here/kafka.pom.xml" dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory="$work/kafka/libs" > "$work/maven" 2>&1 ||
		{ cat "$work/maven" >&2; return 1; }
	if [ -n "$renew" ]; then
		(cd "$work/kafka/libs" && LC_ALL=C sha256sum -- *.jar) > "$here/kafka.sha256"
	fi
	(cd "$work/kafka/libs" && sha256sum --quiet --strict -c "$here/kafka.sha256" >&2) || return
	if [ "$(ls "$work/kafka/libs" | wc -l)" != "$(wc -l < "$here/kafka.sha256")" ]; then
		say 'Maven brought jars that kafka.sha256 does not name'
		return 1
	fi
	cp "$here/kafka.sha256" "$work/kafka/"
	rm -rf "$cache/kafka"
	mv "$work/kafka" "$cache/kafka"
}

install_nats() {
	say "building NATS $nats"
	mkdir "$work/nats"
	(cd "$work" && GOBIN=$work/nats GOFLAGS= CGO_ENABLED=0 \
		go install -trimpath "github.com/nats-io/nats-server/v2@$nats" >&2) || return
	echo "$nats" > "$work/nats/version"
	rm -rf "$cache/nats"
	mv "$work/nats" "$cache/nats"
}

[ -z "$packages" ] || install_packages

missing=
lacks() { missing+=$'\n'"brokers: missing: $1: $2"; }
for broker in $brokers; do
	case $broker in
		redis) have redis-server || lacks Redis "Debian's redis-server" ;;
		postgres) postgres_there || lacks PostgreSQL "Debian's postgresql" ;;
		mqtt) have mosquitto || lacks Mosquitto "Debian's mosquitto" ;;
		rabbitmq) have rabbitmq-server || lacks RabbitMQ "Debian's rabbitmq-server" ;;
		nats)
			if [ "$(cat "$cache/nats/version" 2> /dev/null)" != "$nats" ]; then
				install_nats || lacks NATS "Go could not install it"
			fi
			;;
		kafka)
			if ! have java || [ "$(java_major | cut -d. -f1)" -lt 17 ]; then
				lacks Kafka 'Java 17 or newer'
			elif ! kafka_there; then
				if have mvn; then
					install_kafka || lacks Kafka 'Maven did not bring the jars of kafka.sha256'
				else
					lacks Kafka 'its jars, and Maven, which would bring them'
				fi
			fi
			;;
	esac
done
if [ -n "$missing" ]; then
	echo "${missing#?}" >&2
	exit 1
fi
