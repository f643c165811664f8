#!/bin/sh
# pith data fetch with small packages that are made here, and an apt-get that copies them: what it reads, how it splits and labels, and its mistakes.
set -u
cd "$(dirname "$0")/.."
pictures=$(realpath tests/pictures)
. tests/says.sh
command -v dpkg-deb >/dev/null || { echo "test_fetch: skipped: no dpkg-deb here"; exit 0; }

# ---- a server of packages --------------------------------------------------------------------------------------------
mkdir bin server
cat >bin/apt-get <<END
#!/bin/sh
for last; do :; done
[ ! -e "$work/offline" ] || { echo "E: no network" >&2; exit 100; }
case "\$*" in *update*) exit 0 ;; esac
cp "$work/server/\${last}_1_all.deb" .
END
cat >bin/apt-cache <<END
#!/bin/sh
[ -e "$work/server/\${2}_1_all.deb" ] && echo "Package: \$2"
END
chmod +x bin/apt-get bin/apt-cache
export PATH="$work/bin:$PATH"
pack() { # name: makes a package of the folder usr, and removes that
    mkdir -p made/DEBIAN && mv usr made
    printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: test\n' "$1" >made/DEBIAN/control
    dpkg-deb -b made "server/${1}_1_all.deb" >/dev/null || bad "no package $1"
    rm -r made
}
picture() { mkdir -p "$(dirname "$1")" && cp "$pictures"/*.png "$1"; }
holds() { LC_ALL=C grep -aqF -- "$2" "$1" || bad "$1 has no \"$2\""; }
lacks() { LC_ALL=C grep -aqF -- "$2" "$1" && bad "$1 has a \"$2\""; }

# ---- mistakes --------------------------------------------------------------------------------------------------------
says 1 'expected names of emoji, twemoji, stamps, clipart, furniture, icons, tiles, flags, fashion, with commas between them, or shapes, or twins, alone; found "stamp"' \
    "$pith" data fetch fashion,stamp new; one_line
says 1 'found ""' "$pith" data fetch stamps, new; one_line
says 1 'found "shapes"' "$pith" data fetch stamps,shapes new; one_line
says 1 "stamps is named twice" "$pith" data fetch stamps,stamps new; one_line
[ ! -e new ] || bad "a wrong name left a folder"
says 1 "stamps: the package tuxpaint-stamps-default is not in this system's lists" "$pith" data fetch stamps gone
[ ! -e gone/stamps.pack ] || bad "a package that is gone left a pack"

# ---- stamps ----------------------------------------------------------------------------------------------------------
stamps=usr/share/tuxpaint/stamps
picture $stamps/animals/dog.png; printf 'A brown dog.  \nde.utf8=Ein brauner Hund.\n' >$stamps/animals/dog.txt
picture $stamps/animals/dog_mirror.png
picture $stamps/food/pies/pie.png; printf 'A pie.' >$stamps/food/pies/pie.txt
printf 'not a picture' >$stamps/food/broken.png; printf 'Broken.\n' >$stamps/food/broken.txt
ln -s dog.png $stamps/animals/link.png; printf 'A link.\n' >$stamps/animals/link.txt
pack tuxpaint-stamps-default
touch offline
says 1 "stamps: the package tuxpaint-stamps-default cannot be downloaded: is there a network?" "$pith" data fetch stamps far
[ ! -e far/stamps.pack ] || bad "without a network there is a pack"
[ -z "$(ls far/debs)" ] || bad "without a network something was left: $(ls far/debs)"
rm offline
says 0 "2 pairs packed; left out: 0 missing, 1 unreadable, 1 without a caption (the first: stamps/animals/dog_mirror.png)" \
    "$pith" data fetch stamps s
grep -q "tuxpaint-stamps-default  *161 MB .*GPL-2" out || bad "size and licence are not told"
grep -n "MB\|pairs" out | head -1 | grep -q MB || bad "they are told too late"
says 0 "2 pairs" "$pith" data stats s/stamps.pack
grep -q labels out && bad "a word of one stamp is a class"
grep -q "    A brown dog\.$" out || { bad "the caption is another"; cat out; }
holds s/stamps.pack stamps/food/pies/pie.png
says 0 "as they were written" "$pith" data check s/stamps.pack
ls s/debs/*.deb >/dev/null 2>&1 && bad "a package was left behind"
touch offline # and what is there is not fetched again
says 0 "2 pairs packed" "$pith" data fetch stamps s; grep -q MB out && bad "a second download was announced"
rm offline

# ---- words: of a stamp's caption, where another has the same ------------------------------------------------------------
labels() { # pack
    at=$(grep -ao '"label":{[^}]*}' "$1" | sed 's/.*"data_offsets":\[\([0-9,]*\)\].*/\1/')
    echo $(od -An -v -t d4 -j $(($(od -An -t u8 -N 8 "$1") + 8 + ${at%,*})) -N $((${at#*,} - ${at%,*})) "$1")
}
mv server/tuxpaint-stamps-default_1_all.deb kept.deb
k=10
while read -r words; do k=$((k + 1)); picture $stamps/a/$k.png; echo "$words" >$stamps/a/$k.txt; done <<'END'
A round tower with a pink flag.
TOWER—the old one.
The light (a lamp).
A light means you can go!
A pair of pants.
A pair of pants!
We have all seen the old tower.
A cat.
An old-fashioned tower
An “old” light, by night.
…
flag
The letter b.
A "b" of wood, b.
A b
END
pack tuxpaint-stamps-default
says 0 "15 pairs packed" "$pith" data fetch stamps words --size 8
[ "$(labels words/stamps.pack)" = "0 0 1 1 -1 -1 -1 -1 0 1 -1 -1 -1 -1 -1" ] || bad "other labels: $(labels words/stamps.pack)"
mv server/tuxpaint-stamps-default_1_all.deb words.deb
mv kept.deb server/tuxpaint-stamps-default_1_all.deb

# ---- splits: by the caption's letters and digits, whatever its case and punctuation ----------------------------------
mkdir -p $stamps/a $stamps/b
for k in $(seq 400); do
    cp "$pictures/red.png" $stamps/a/$k.png; cp "$pictures/red.png" $stamps/b/$k.png
    echo "A thing, number $k." >$stamps/a/$k.txt; echo "a Thing (number $k)" >$stamps/b/$k.txt
done
mv server/tuxpaint-stamps-default_1_all.deb kept.deb; pack tuxpaint-stamps-default
says 0 "800 pairs packed" "$pith" data fetch stamps many --size 8
says 0 "800 pairs" "$pith" data stats many/stamps.pack
n=$(sed -n 's/^    test  *//p' out); [ "$n" -ge 50 ] && [ "$n" -le 110 ] || bad "$n of 800 pairs test, expected about 80"
m=$(sed -n 's/^    valid  *//p' out); [ "$m" -ge 14 ] && [ "$m" -le 56 ] || bad "$m of 800 pairs validate, expected about 32"
[ $((n % 2 + m % 2)) = 0 ] || bad "equal captions lie in two splits"
mv kept.deb server/tuxpaint-stamps-default_1_all.deb

# ---- fashion ---------------------------------------------------------------------------------------------------------
fashion=usr/share/datasets/fashion-mnist
idx() { # name count: pictures of zeros, labels 0 1 2 ... 9 0 1 ...
    { printf '\0\0\010\003\0\0\001\054\0\0\0\034\0\0\0\034'; head -c $((300 * 784)) /dev/zero; } | gzip >$fashion/$1-images-idx3-ubyte.gz
    { printf '\0\0\010\001\0\0\001\054'; for k in $(seq 30); do printf '\0\001\002\003\004\005\006\007\010\011'; done; } | gzip >$fashion/$1-labels-idx1-ubyte.gz
}
mkdir -p $fashion; idx train; idx t10k; pack dataset-fashion-mnist
says 0 "600 pairs packed" "$pith" data fetch fashion f --size 16
says 0 "    test             300" "$pith" data stats f/fashion.pack
grep -q "labels: 0 to 9" out || bad "not ten classes"
grep -q "captions: 10 different" out || bad "not ten captions"
grep -q "    t-shirt or top$" out && grep -q "    ankle boot$" out || { bad "other captions"; cat out; }
n=$(sed -n 's/^    valid  *//p' out); [ "${n:-0}" -ge 3 ] && [ "$n" -le 30 ] || bad "${n:-no} of 300 pairs validate, expected about 12"

# ---- several in one file: labels one after another -------------------------------------------------------------------
mv words.deb server/tuxpaint-stamps-default_1_all.deb
says 0 "fashion: 600 pairs, labels 2 to 11" "$pith" data fetch stamps,fashion both --size 16
grep -q "^stamps: 15 pairs, labels 0 to 1$" out || bad "the stamps' labels are others"
says 0 "both/corpus.pack: 615 pairs" "$pith" data stats both/corpus.pack
grep -q "labels: 0 to 11" out || bad "labels of two sources are mixed up"
holds both/corpus.pack stamps/a/11.png; holds both/corpus.pack fashion/test/299

# ---- icons -----------------------------------------------------------------------------------------------------------
icon() { picture usr/share/icons/$1.png; }
for k in 22 32 48; do icon oxygen/base/${k}x${k}/apps/network-server; done
icon oxygen/base/16x16/apps/too-small
icon oxygen/base/48x48/animations/strip; icon oxygen/base/48x48/actions/edit-cut-symbolic.symbolic
ln -s network-server.png usr/share/icons/oxygen/base/48x48/apps/other-name.png
pack oxygen-icon-theme
icon gnome/48x48/apps/network-server; pack gnome-icon-theme
icon mate/48x48/devices/big_disk; pack mate-icon-theme
icon Tango/32x32/apps/network-server; pack tango-icon-theme
icon Adwaita/512x512/apps/network-server; pack adwaita-icon-theme
icon nuoveXT2/128x128/apps/network-server; pack lxde-icon-theme
says 1 "icons: the package elementary-xfce-icon-theme is not in this system's lists" "$pith" data fetch stamps,icons i
[ ! -e i/corpus.pack ] || bad "a part of a corpus was packed"
icon elementary-xfce/apps/64/network-server; pack elementary-xfce-icon-theme
says 0 "7 pairs packed" "$pith" data fetch icons i
holds i/icons.pack icons/oxygen/base/48x48/apps/network-server.png; holds i/icons.pack "big disk"
for other in "too small" strip symbolic "other name" 22x22 oxygen/base/32x32; do lacks i/icons.pack "$other"; done
says 0 "captions: 2 different" "$pith" data stats i/icons.pack
n=$(sed -n 's/^    \(train\|valid\|test\)  *//p' out | sort -n | tr '\n' ' ')
[ "$n" = "1 6 " ] || [ "$n" = "7 " ] || bad "one caption lies in two splits: $n"

# ---- flags -----------------------------------------------------------------------------------------------------------
for k in pe vg kp _basque; do picture usr/share/iso-flags-png-320x240/$k.png; done; pack iso-flags-png-320x240
mkdir -p usr/share/iso-codes/json
cat >usr/share/iso-codes/json/iso_3166-1.json <<'END'
{ "3166-1": [ { "alpha_2": "PE", "name": "Peru" }, { "alpha_2": "VG", "name": "Virgin Islands, British" },
              { "alpha_2": "KP", "name": "Korea, Democratic People's Republic of", "common_name": "North Korea" } ] }
END
pack iso-codes
says 0 "3 pairs packed; left out: 0 missing, 0 unreadable, 1 without a caption (the first: flags/_basque.png)" "$pith" data fetch flags g
holds g/flags.pack "flag: Peru"; holds g/flags.pack "flag: British Virgin Islands"; holds g/flags.pack "flag: North Korea"

# ---- clipart ---------------------------------------------------------------------------------------------------------
art() { # name title creator
    picture usr/share/openclipart/png/$1.png; mkdir -p "svg/$(dirname $1)"
    printf '<svg><title>no</title><rdf:RDF><cc:Work rdf:about=""><dc:creator><cc:Agent><dc:title>%s</dc:title></cc:Agent></dc:creator>
<dc:title>%s</dc:title></cc:Work></rdf:RDF></svg>' "$3" "$2" >svg/$1.svg
}
art food/ice_01 "Ice  Cream &amp;amp; Cone" Somebody
art animals/gattina_cat_architetto_f_01 "" "Architetto Francesco"
art animals/mailed_02 "me@example.org" Me
art animals/self_made "Jo" "Jo"
for k in duck fox owl hen; do art animals/set-$k "A set" "Jo"; done
art shapes/stars/star "A star" Jo; art special/pattern "A pattern" Jo
ln -s ice_01.png usr/share/openclipart/png/food/link.png
pack openclipart-png; mkdir -p usr/share/openclipart; mv svg usr/share/openclipart; pack openclipart-svg
says 0 "8 pairs packed" "$pith" data fetch clipart c
for words in "Ice Cream & Cone" "gattina cat" mailed "self made" "set duck" "set hen"; do holds c/clipart.pack "$words"; done
for words in "A set" "me@" architetto.f "gattina cat a" "A star" "A pattern" "mailed 02"; do lacks c/clipart.pack "$words"; done

# ---- tiles: a sheet of 4 sprites of 32 x 32, all red; and one of 1 of 64 x 64 ----------------------------------------
for set in UltimateCataclysm ChibiUltica MshockXotto+ BrownLikeBears; do
    picture usr/share/games/cataclysm-dda/gfx/$set/a.png; picture usr/share/games/cataclysm-dda/gfx/$set/b.png
    cat >usr/share/games/cataclysm-dda/gfx/$set/tile_config.json <<'END'
{ "tile_info": [ { "width": 32, "height": 32 } ], "tiles-new": [
  { "file": "a.png", "tiles": [ { "id": "t_wall", "fg": 3 }, { "id": [ "sword", "blade" ], "fg": [ { "weight": 1, "sprite": [ 2, 3 ] } ] },
                                { "id": "no_such", "fg": 0 }, { "id": "t_far", "fg": 5 } ] },
  { "file": "b.png", "sprite_width": 64, "sprite_height": 64, "tiles": [ { "id": "vp_seat", "fg": 4 } ] } ] }
END
done
mkdir -p usr/share/games/cataclysm-dda/json/items
cat >usr/share/games/cataclysm-dda/json/items/a.json <<'END'
[ { "type": "terrain", "id": "t_wall", "name": "stone wall" }, { "type": "terrain", "id": "t_far", "name": "far away" },
  { "type": "GENERIC", "abstract": "base", "name": { "str": "long sword" } }, { "type": "GENERIC", "id": "sword", "copy-from": "base" },
  { "type": "GENERIC", "id": "blade", "name": { "str_sp": "blades" } }, { "type": "vehicle_part", "id": "seat", "name": "car seat" },
  { "type": "mutation", "id": "no_such", "name": "mutant" } ]
END
pack cataclysm-dda-data
says 0 "16 pairs packed" "$pith" data fetch tiles x
says 0 "labels: 0 to 2" "$pith" data stats x/tiles.pack
grep -q "captions: 4 different" out || bad "other names"
for words in "stone wall" "long sword" blades "car seat" tiles/MshockXotto+/vp_seat; do holds x/tiles.pack "$words"; done
lacks x/tiles.pack mutant; lacks x/tiles.pack "far away"

# ---- furniture: a ZIP archive of two files, as they are --------------------------------------------------------------
bytes() { for n in 0 8 16 24; do [ $n -ge $((8 * $2)) ] || printf "\\$(printf %03o $(($1 >> n & 255)))"; done; } # number, how many bytes
sizes() { bytes 0 4; bytes $(wc -c <"$1") 4; bytes $(wc -c <"$1") 4; bytes ${#2} 2; bytes 0 2; }                    # checksum, sizes, name's length
zip_of() { # file, its name in the archive, and so on
    at=0 count=0; : >directory
    while [ $# -gt 1 ]; do
        { printf 'PK\003\004'; bytes 10 2; bytes 0 4; bytes 0 4; sizes "$1" "$2"; printf %s "$2"; cat "$1"; }
        { printf 'PK\001\002'; bytes 10 4; bytes 0 4; bytes 0 4; sizes "$1" "$2"; bytes 0 4; bytes 0 4; bytes 0 2; bytes $at 4; printf %s "$2"; } >>directory
        at=$((at + 30 + ${#2} + $(wc -c <"$1"))) count=$((count + 1)); shift 2
    done
    cat directory; printf 'PK\005\006'; bytes 0 4; bytes $count 2; bytes $count 2; bytes $(wc -c <directory) 4; bytes $at 4; bytes 0 2
}
mkdir -p usr/share/sweethome3d/furniture
printf '# list\nname=all\nname#1=Bill 10\\u20ac\ncategory#1=Shop\nicon#1=/a/bill.png\nname#2=Lost\ncategory#2=Shop\nicon#2=/a/lost.png\n' >list
zip_of "$pictures/red.png" a/bill.png list PluginFurnitureCatalog.properties >usr/share/sweethome3d/furniture/A.sh3f
cp usr/share/sweethome3d/furniture/A.sh3f A.sh3f; pack sweethome3d-furniture
says 0 "1 pairs packed; left out: 1 missing, 0 unreadable, 0 without a caption (the first: furniture/A.sh3f/a/lost.png)" "$pith" data fetch furniture h
holds h/furniture.pack "Bill 10€"
mkdir -p usr/share/sweethome3d/furniture; head -c 300 A.sh3f >usr/share/sweethome3d/furniture/A.sh3f; pack sweethome3d-furniture
says 1 "A.sh3f: not a ZIP archive with a list PluginFurnitureCatalog.properties" "$pith" data fetch furniture k; grep -q "A.sh3f" out
[ ! -e k/furniture.pack ] || bad "half an archive was packed"

# ---- a package of another time ---------------------------------------------------------------------------------------
mkdir -p usr/share/doc; pack tuxpaint-stamps-default
says 1 "is the package tuxpaint-stamps-default another than Debian 12's?" "$pith" data fetch stamps other
[ ! -e other/stamps.pack ] || bad "an empty package left a pack"
mkdir -p usr/share/doc; pack firefox-esr; mkdir -p usr/share/doc; pack unicode-data
says 1 "twemoji: the package firefox-esr is another than Debian 12's: it lacks usr/lib/firefox-esr/fonts/TwemojiMozilla.ttf" "$pith" data fetch twemoji t
[ $failed = 0 ] && echo "test_fetch: all as it should be"
exit $failed
