# setup.sh - sourced by tools/demo and tools/test: install what is missing, configure, build.
# Debian package names; docs/DECISIONS.md says what each is for.

packages="gcc libc6-dev cmake ninja-build pkg-config libdnnl-dev libjansson-dev libsqlite3-dev
libzstd-dev zlib1g-dev libxxhash-dev libpcre2-dev"
test_packages="libcmocka-dev"

say() { printf '\n== %s\n' "$*"; }

# install_packages NAME...: those that dpkg does not know as installed, in one apt-get call.
install_packages() {
    missing=""
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
    done
    [ -z "$missing" ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "loci: no apt-get here; please install what these Debian packages hold:$missing" >&2
        return 1
    fi
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || { echo "loci: run as root, or install:$missing" >&2; return 1; }
        sudo=sudo
    fi
    say "Installing$missing (compilers and libraries that loci is built with)"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

# build PRESET [cmake option...] [--target NAME...]
build() {
    preset=$1
    shift
    options=""
    while [ $# -gt 0 ] && [ "$1" != --target ]; do
        options="$options $1"
        shift
    done
    say "Building (preset $preset)"
    cmake --preset "$preset" $options >/dev/null
    cmake --build --preset "$preset" "$@"
}
