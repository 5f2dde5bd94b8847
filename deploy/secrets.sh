#!/bin/sh
# Makes random passwords for docker-compose.yml; those that exist are kept. Run it once: sh deploy/secrets.sh
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets # the files have to be readable inside the containers, the folder keeps others on this machine out
for name in kafka_password grafana_password; do
    [ -s "secrets/$name" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name"
    chmod 644 "secrets/$name"
done
