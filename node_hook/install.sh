#!/bin/sh
# Install Baton on a node, bring it up to date, or take it away without a trace. Run it again at will.
#
#   install.sh [--config node.json] [--keepalived keepalived.conf] [--root DIR]
#   install.sh --uninstall [--root DIR]
#
# --root puts everything below a directory (an image under construction) and starts nothing.
set -eu
umask 022

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root='' config='' keepalived='' uninstall=no reload=no
services='baton-publish.service baton-vigil.service baton-node.service'

say() { printf 'baton: %s\n' "$*" >&2; }
die() { say "$*"; exit "${code:-1}"; }

while [ $# -gt 0 ]; do
    case $1 in
        --root) root=${2:?--root needs a directory}; shift ;;
        --config) config=${2:?--config needs a file}; shift ;;
        --keepalived) keepalived=${2:?--keepalived needs a file}; shift ;;
        --uninstall) uninstall=yes ;;
        *) code=2 die "unknown argument $1" ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || code=4 die 'run this as root: what it installs must be owned by root'
root=${root%/}
opt=$root/opt/baton etc=$root/etc/baton system=$root/etc/systemd/system
live() { [ -z "$root" ]; }

# put MODE FILE PLACE: replace the file as a whole, and only if it differs.
put() {
    if cmp -s -- "$2" "$3" && [ "$(stat -c '%a %u' -- "$3")" = "$1 0" ]; then return; fi
    install -D -o root -g root -m "$1" -- "$2" "$3.new"
    mv -f -- "$3.new" "$3"
    changed=yes
}

remove() {
    if live; then
        if [ -x "$opt/node.py" ] && "$opt/node.py" status 2>/dev/null | tail -n 1 | grep -q '"serving":[1-9]'; then
            die 'this node serves: hand over first (./baton handover), then run this again'
        fi
        # shellcheck disable=SC2086
        systemctl disable --now $services 2>/dev/null || true
    fi
    for service in $services; do
        rm -rf -- "$system/$service" "$system/$service.d" "$system/multi-user.target.wants/$service"
    done
    rm -f -- "$system/keepalived.service.d/baton.conf"
    rmdir -- "$system/keepalived.service.d" 2>/dev/null || true
    rm -rf -- "$opt" "$etc" "$root/var/lib/baton" "$root/run/baton"
    live && systemctl daemon-reload || true
    say 'removed; keepalived.conf is left as it is'
}

install_all() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null ||
        code=5 die 'Python 3.9 or newer is needed: install python3'
    changed=no
    for file in "$here"/*.py; do put 755 "$file" "$opt/${file##*/}"; done
    put 755 "$here/install.sh" "$opt/install.sh"
    put 644 "$here/keepalived.conf" "$opt/keepalived.conf"
    for file in "$opt"/*.py; do
        # What an earlier version had and this one has not.
        [ -e "$here/${file##*/}" ] || rm -f -- "$file"
    done
    for service in $services; do put 644 "$here/$service" "$system/$service"; done
    install -d -o root -g root -m 755 "$etc"
    install -d -o root -g root -m 700 "$root/var/lib/baton"
    [ -z "$config" ] || put 644 "$config" "$etc/node.json"
    [ -z "$keepalived" ] || put_keepalived
    drop_ins
    python3 -m compileall -q "$opt"
    if live; then start; else enable_below_root; fi
    say "installed (changed: $changed)"
}

put_keepalived() {
    if live && command -v keepalived >/dev/null; then
        keepalived --config-test -f "$keepalived" || die 'keepalived does not take this configuration'
    fi
    before=$changed changed=no
    put 644 "$keepalived" "$root/etc/keepalived/keepalived.conf"
    reload=$changed
    [ "$before" = no ] || changed=yes
}

# Stopped after the cluster's units, so started before them; keepalived after the FIFO is there.
drop_ins() {
    part=$(mktemp)
    trap 'rm -f -- "$part"' EXIT
    if [ -e "$etc/node.json" ]; then
        python3 -c '
import json, sys
units = json.load(open(sys.argv[1])).get("units") or []
print("[Unit]\nBefore=" + " ".join(units))
' "$etc/node.json" >"$part"
        put 644 "$part" "$system/baton-node.service.d/units.conf"
    fi
    printf '[Unit]\nAfter=baton-publish.service\nWants=baton-publish.service\n' >"$part"
    put 644 "$part" "$system/keepalived.service.d/baton.conf"
}

start() {
    systemctl daemon-reload
    if [ ! -e "$etc/node.json" ]; then
        say 'no /etc/baton/node.json yet: run this again with --config'
        return
    fi
    # shellcheck disable=SC2086
    systemctl enable --now $services
    # baton-node.service is not restarted: stopping it means to release. Its program is read anew anyway.
    [ "$changed" = no ] || systemctl restart baton-publish.service baton-vigil.service
    # One that runs takes its new configuration, and stays what it is.
    if [ "$reload" = yes ] && systemctl is-active keepalived.service >/dev/null; then
        systemctl reload keepalived.service
    fi
}

enable_below_root() {
    for service in $services; do
        mkdir -p -- "$system/multi-user.target.wants"
        ln -sfn -- "/etc/systemd/system/$service" "$system/multi-user.target.wants/$service"
    done
}

if [ "$uninstall" = yes ]; then remove; else install_all; fi
