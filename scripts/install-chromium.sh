#!/bin/sh
# The browser that the page at /ui is tested in. Does nothing where there is one already, or no way to get it.
set -eu

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "Chromium is needed to test the page at /ui: install it (on Debian: apt-get install chromium)." >&2
fi
