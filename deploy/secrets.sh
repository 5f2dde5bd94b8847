#!/bin/sh
# Creates random passwords for docker-compose.yml; existing ones are kept. Run it once: sh deploy/secrets.sh
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
# Containers must be able to read the files; the folder protects them from other users of this machine.
chmod 700 secrets
for name in kafka_password grafana_password; do
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
    chmod 644 "secrets/$name"
done
