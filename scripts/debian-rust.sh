# Sourced by scripts that cross-compile: Debian packages standard libraries for other targets, and their
# source, which rustup's toolchain may lack. Sets up the environment for /usr/bin/cargo to use them.

# Installs missing Debian or Ubuntu packages, as root or with sudo.
install_missing() {
    local package state missing=() as_root=()
    for package in "$@"; do
        state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
        if [[ $state != installed ]]; then
            missing+=("$package")
        fi
    done
    if ((${#missing[@]} == 0)); then
        return
    fi
    echo "installing ${missing[*]}"
    if ((EUID != 0)); then
        as_root=(sudo)
    fi
    "${as_root[@]}" dpkg --add-architecture arm64
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# Without RUSTC, this cargo would use rustup's compiler.
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
