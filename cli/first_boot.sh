#!/bin/sh
# First boot of a node of the cluster ${cluster}, stage ${stage}. Printed by `./baton node-user-data`.
# What it does is in /var/log/baton-first-boot.log.
set -eu
umask 022
exec >>/var/log/baton-first-boot.log 2>&1
work=$$(mktemp -d)
trap 'rm -rf "$$work"' EXIT

# In its first minutes an instance updates itself, which locks the package manager; mirrors hiccup.
again() {
    tries=0
    until "$$@"; do
        tries=$$((tries + 1))
        [ "$$tries" -lt 60 ] || return 1
        sleep 3
    done
}
needed='keepalived e2fsprogs xfsprogs psmisc curl xz'
if command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    again apt-get update -q
    again apt-get install -q -y $$(echo "$$needed" | sed 's/xz/xz-utils/')
else
    again dnf install -q -y $$needed
fi

metadata() {
    token=$$(curl -sf -m 5 --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' \
        http://169.254.169.254/latest/api/token)
    curl -sf -m 5 --retry 5 -H "X-aws-ec2-metadata-token: $$token" \
        "http://169.254.169.254/latest/meta-data/$$1"
}
node=$$(metadata instance-id)
address=$$(metadata local-ipv4)

curl -sSfL --retry 10 --retry-delay 3 -m 120 -o "$$work/package" ${package}
echo "${digest}  $$work/package" | sha256sum -c -
tar -xJf "$$work/package" -C "$$work"
cat >"$$work/definition.json" <<'END OF DEFINITION'
${definition}
END OF DEFINITION

python3 "$$work/node_hook/render.py" "$$work/definition.json" "$$node" ${stage} ${region} "$$work/files" \
    ${peers} "$$node=$$address"
sh "$$work/node_hook/install.sh" --config "$$work/files/etc/baton/node.json" \
    --keepalived "$$work/files/etc/keepalived/keepalived.conf"
systemctl enable --now keepalived
