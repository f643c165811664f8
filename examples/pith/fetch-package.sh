#!/bin/sh
# Downloads a Debian package and unpacks it, or one file or folder of it, into a folder; nothing is installed, and no root needed.
#     fetch-package.sh DIR PACKAGE [PATH]
# Exit status: 0 done or already there, 1 the machine cannot (no Debian, disk full), 2 no download (no network), 3 no such package,
# 4 no PATH in it. The caller says it in words.
set -u
dir=$1 package=$2 path=${3:-}

[ -e "$dir/$package.complete" ] && exit 0
for tool in apt-get apt-cache dpkg-deb tar; do
    command -v $tool >/dev/null || exit 1
done
mkdir -p "$dir" && cd "$dir" || exit 1
trap 'rm -f "$package"_*.deb apt.log' EXIT
trap 'exit 1' INT TERM
# As root apt would download as user _apt, who may not write here.
quiet="-qq -o APT::Sandbox::User=root -o Acquire::Retries=2 -o APT::Update::Error-Mode=any"
known() { [ -n "$(apt-cache show "$package" 2>/dev/null)" ]; }
download() { known && rm -f "$package"_*.deb && apt-get $quiet download "$package" >/dev/null 2>apt.log; }
# Where the lists of packages are missing or old, only root may fetch new ones.
if ! download; then
    if [ "$(id -u)" = 0 ]; then
        apt-get $quiet update >/dev/null 2>&1 || exit 2
        download
    fi
    known || exit 3
fi
[ -e "$(ls "$package"_*.deb 2>/dev/null)" ] || { grep -q ' 404 ' apt.log && exit 3; exit 2; }
if [ -n "$path" ]; then
    dpkg-deb --fsys-tarfile "$package"_*.deb | tar -x "./$path" 2>/dev/null || {
        [ -e "$path" ] || exit 4
        exit 1
    }
else
    dpkg-deb -x "$package"_*.deb . || exit 1
fi
touch "$package.complete"
