#!/bin/sh
# Installs pgdrover-agent on this host and enrols it. Made by the manager for one of its hosts:
#   (echo token=TOKEN; curl -fsS MANAGER/install/agent.sh) | sudo sh
# so that the token is in no process's arguments. The program's checksum is part of this script; the token carries the fingerprint of the authority to trust.
set -eu
base='@BASE@'
sum='@SHA256@'
token=${token:?set it before this script, as the manager shows it}

fail() { echo "pgdrover-agent: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "run this as root (sudo)"
[ "$(uname -s)-$(uname -m)" = '@PLATFORM@' ] || fail "the manager has a program for @PLATFORM@ only; build pgdrover-agent for this host"
id postgres >/dev/null 2>&1 || fail "there is no user postgres: install the PostgreSQL server packages first"

new=$(mktemp)
trap 'rm -f "$new"' EXIT
curl -fsS -o "$new" "$base/install/pgdrover-agent" || fail "download from $base failed"
echo "$sum  $new" | sha256sum -c - >/dev/null || fail "the downloaded program is not the manager's"
install -m 0755 "$new" /usr/bin/pgdrover-agent

install -d -m 0755 /etc/pgdrover
for f in agent.yaml agent-policy.yaml; do
	[ -e "/etc/pgdrover/$f" ] || curl -fsS -o "/etc/pgdrover/$f" "$base/install/$f"
done
printf '%s' "$token" | /usr/bin/pgdrover-agent enroll --token-file /dev/stdin

if [ -d /run/systemd/system ]; then
	for u in pgdrover-agent.service pgdrover-postgresql@.service; do
		curl -fsS -o "/etc/systemd/system/$u" "$base/install/$u"
	done
	systemctl daemon-reload
	systemctl enable --now pgdrover-agent.service
else
	echo "There is no systemd here: have your init system run 'pgdrover-agent run'. It is started now, until the next boot."
	setsid /usr/bin/pgdrover-agent run >>/var/log/pgdrover-agent.log 2>&1 </dev/null &
fi
echo "pgdrover-agent is installed and enrolled."
