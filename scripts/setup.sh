# Functions that install packages, fetch LibTorch, configure and build. Sourced, not run.
# Environment: MINIMIND_CACHE  folder of LibTorch, outside the checkout (default ~/.cache/minimind)
#              LIBTORCH        an unpacked LibTorch (folder with include/ and lib/) that is used instead
set -euo pipefail

readonly torch_version=2.11.0
minimind_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
minimind_cache=${MINIMIND_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/minimind}

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

packages=(
  g++ cmake ninja-build ccache pkg-config python3 python3-venv
  nlohmann-json3-dev libcli11-dev libgtest-dev zlib1g-dev libstb-dev libboost-dev libxxhash-dev
  libsentencepiece-dev libjpeg-dev libwebp-dev libgloo-dev libedit-dev
)

# Installs missing packages. Without root, prints the command that installs them and ends.
install_packages() {
  local missing=() package
  for package in "${packages[@]}" "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed$' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  command -v apt-get > /dev/null || die "expected apt-get (Debian, Ubuntu), found none; install the equivalents of: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    die "packages are missing and you are not root; run:  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
  fi
  say "Installing ${#missing[@]} packages: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get failed (its whole output: $log)"
  fi
  rm -f "$log"
}

# fetch_libtorch cpu|cuda: sets LIBTORCH. The torch wheel serves as the C++ SDK. cpu installs two small CUDA wheels, because
# libtorch_cpu.so links them. cuda installs all CUDA wheels and the Python packages that the tests compare with.
fetch_libtorch() {
  local kind=$1 venv
  if [ -n "${LIBTORCH:-}" ]; then
    [ -e "$LIBTORCH/lib/libtorch_cpu.so" ] || die "LIBTORCH=$LIBTORCH: expected lib/libtorch_cpu.so in it; point it to an unpacked LibTorch or unset it"
    export LIBTORCH
    return
  fi
  venv=$minimind_cache/torch-$torch_version-$kind
  mkdir -p "$minimind_cache"
  exec 9> "$venv.lock"
  flock 9  # a second run at the same time waits for the first
  local wheels
  if [ "$kind" = cpu ]; then
    wheels=(--no-deps "torch==$torch_version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
  else  # nvidia-cuda-crt and -cccl: headers that the other CUDA headers include; torch itself does not ask for them
    wheels=("torch==$torch_version" nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85 "numpy<3" tokenizers==0.22.2 "pillow>=12,<14")
  fi
  # The marker lists what was installed. If the list differs, pip installs what is missing.
  if [ "$(cat "$venv/.complete" 2>/dev/null)" != "${wheels[*]}" ]; then
    say "Fetching LibTorch $torch_version ($kind) into $venv"
    if [ ! -e "$venv/.complete" ]; then
      rm -rf "$venv"
      python3 -m venv "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile "${wheels[@]}"
    echo "${wheels[*]}" > "$venv/.complete"
  fi
  exec 9>&-
  LIBTORCH=$(echo "$venv"/lib/python3.*/site-packages/torch)
  export LIBTORCH
}

# configure_preset PRESET [cmake option…]: configures build/PRESET.
configure_preset() {
  local preset=$1
  shift
  cd "$minimind_root"
  local log=build/$preset-configure.log
  mkdir -p build
  if ! cmake --preset "$preset" -DLIBTORCH="$LIBTORCH" "$@" > "$log" 2>&1; then
    tail -n 30 "$log" >&2
    die "cmake failed (its whole output: $log)"
  fi
}

# build_preset PRESET [cmake option…]: configures and builds build/PRESET.
build_preset() {
  local preset=$1
  say "Configuring and building build/$preset (2 compilers at once; later builds use ccache)"
  configure_preset "$@"
  cmake --build --preset "$preset" >&2
}
