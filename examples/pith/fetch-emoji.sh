#!/bin/sh
# Fetches the emoji pictures: three Debian packages, unpacked into a folder, not installed; no root needed.
#     fetch-emoji.sh [DIR]          (DIR: runs/data/debs)
# Exit status: 0 done or already there, 1 the machine cannot (no Debian, disk full), 2 no download (no network).
set -u
dir=${1:-runs/data/debs}
packages="fonts-noto-color-emoji unicode-data ruby-gemojione"

[ -e "$dir/complete" ] && exit 0
for tool in apt-get apt-cache dpkg-deb; do
    command -v $tool >/dev/null && continue
    echo "fetch-emoji: needs $tool: the pictures come as Debian packages" >&2
    exit 1
done
mkdir -p "$dir" && cd "$dir" || exit 1
# As root apt would download as user _apt, who may not write here.
quiet="-qq -o APT::Sandbox::User=root -o Acquire::Retries=2"
if ! apt-cache show $packages >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    apt-get $quiet update >/dev/null 2>&1
fi
say() {
    size=$(apt-cache show "$1" 2>/dev/null | sed -n 's/^Size: //p' | head -1)
    printf '    %-24s %3d MB   %s\n' "$1" $(((${size:-0} + 500000) / 1000000)) "$2"
}
echo "Emoji pictures from Debian packages, unpacked into $dir (nothing is installed):"
say fonts-noto-color-emoji "Google's pictures (SIL OFL 1.1)"
say unicode-data           "their names (Unicode licence)"
say ruby-gemojione         "EmojiOne's pictures (CC-BY-SA-4.0)"
for package in $packages; do
    rm -f "${package}"_*.deb
    if ! apt-get $quiet download $package >/dev/null 2>apt.log; then
        echo "fetch-emoji: no $package: no network, or 'apt-get update' is wanted first" >&2
        sed 's/^/    /' apt.log >&2
        rm -f apt.log
        exit 2
    fi
    dpkg-deb -x "${package}"_*.deb . || exit 1
    rm "${package}"_*.deb
done
rm -f apt.log
touch complete
