#!/bin/sh
# nats-server reads passwords from its environment, and compose hands them over as files.
set -eu
for user in admin identity-merge routing notification ingress sender backoffice operator; do
  variable="NATS_$(echo "$user" | tr 'a-z-' 'A-Z_')_PASSWORD"
  export "$variable=$(cat "/run/secrets/nats_$user")"
done
exec nats-server --config /etc/nats/nats.conf
