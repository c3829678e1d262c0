# Functions that install packages, fetch LibTorch, configure and build. Sourced, not run.
# Environment: MINIMIND_CACHE  folder of LibTorch, outside the checkout (default ~/.cache/minimind)
#              LIBTORCH        an unpacked LibTorch (folder with include/ and lib/) that is used instead
#              MINIMIND_TORCH_INDEX  folder or address with PyTorch's wheels in cu126/torch/, cu128/torch/ and cpu/torch/. Drivers before 580
#                              need it. If it ends in cuNNN or cpu, that build is taken whatever the driver is.
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

# nvidia_driver: prints the version of the NVIDIA driver, for example 570.124.06; nothing on a machine without one.
nvidia_driver() {
  local version="" file=/proc/driver/nvidia/version
  if command -v nvidia-smi > /dev/null; then  # one line for each card; without a card, a sentence
    version=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2> /dev/null) || version=""
  fi
  if ! [[ $version =~ ^[0-9]+\. ]] && [ -r "$file" ]; then
    version=$(sed -nE 's/^NVRM version:.* ([0-9]{3,}\.[0-9.]+) .*/\1/p' "$file")
  fi
  [[ ! $version =~ ^([0-9]+\.[0-9.]+) ]] || echo "${BASH_REMATCH[1]}"
}

# choose_torch: prints the build of LibTorch for this machine. `cuda` is the wheel of CUDA 13, for drivers from 580. Drivers from 525 get
# `cu126`, from 570 `cu128`: the same version for an earlier CUDA, from MINIMIND_TORCH_INDEX. `cpu` is for all other machines.
choose_torch() {
  local driver major index=${MINIMIND_TORCH_INDEX:-}
  if [[ ${index%/} =~ /(cu[0-9]+|cpu)$ ]]; then
    echo "${BASH_REMATCH[1]}"
    return
  fi
  driver=$(nvidia_driver)
  major=${driver%%.*}
  if [ -z "$driver" ]; then
    echo cpu
  elif [ "$major" -ge 580 ]; then
    echo cuda
  elif [ "$major" -lt 525 ]; then
    say "NVIDIA driver: expected 525 or later, found $driver; going on with the CPU build; update the driver to use the card"
    echo cpu
  elif [ -z "$index" ]; then
    say "NVIDIA driver: expected 580 or later, found $driver; going on with the CPU build; to use the card, set MINIMIND_TORCH_INDEX (README, NVIDIA drivers)"
    echo cpu
  elif [ "$major" -ge 570 ]; then
    echo cu128
  else
    echo cu126
  fi
}

# choose_cuda: like choose_torch, but the default wheel where the machine needs no CUDA. Tests and benchmarks link CUDA everywhere.
choose_cuda() {
  local kind
  kind=$(choose_torch 2> /dev/null)
  if [ "$kind" = cpu ]; then echo cuda; else echo "$kind"; fi
}

# torch_wheels KIND: sets the array `wheels`, arguments of pip. The CPU set-up installs two small CUDA wheels beside the default wheel,
# because libtorch_cpu.so links them. The others install all CUDA wheels and the Python packages that the tests compare with;
# -crt (in CUDA 12: -nvcc) and -cccl hold headers that the other CUDA headers include, and torch itself does not ask for them.
torch_wheels() {
  local kind=$1 headers=() index=${MINIMIND_TORCH_INDEX:-}
  case $kind in
    cpu) headers=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85) ;;
    cuda) headers=(nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85) ;;
    cu126) headers=("nvidia-cuda-nvcc-cu12==12.6.*" "nvidia-cuda-cccl-cu12==12.6.*") ;;
    cu128) headers=("nvidia-cuda-nvcc-cu12==12.8.*" "nvidia-cuda-cccl-cu12==12.8.*") ;;
    cu130) headers=("nvidia-cuda-crt==13.0.*" "nvidia-cuda-cccl==13.0.*") ;;
    *) die "MINIMIND_TORCH_INDEX: expected a folder or an address that ends in cpu, cu126, cu128 or cu130, found $index" ;;
  esac
  local python_packages=("numpy<3" tokenizers==0.22.2 "pillow>=12,<14")
  index=${index%/}
  [[ ! $index =~ /(cu[0-9]+|cpu)$ ]] || index=${index%/*}
  if [ "$kind" = cuda ]; then
    wheels=("torch==$torch_version" "${headers[@]}" "${python_packages[@]}")
  elif [ "$kind" = cpu ] && [ -z "$index" ]; then
    wheels=(--no-deps "torch==$torch_version" "${headers[@]}")
  elif [ "$kind" = cpu ]; then
    wheels=("torch==$torch_version+cpu" --find-links "$index/cpu/torch/")
  else
    wheels=("torch==$torch_version+$kind" --find-links "$index/$kind/torch/" "${headers[@]}" "${python_packages[@]}")
  fi
}

# fetch_libtorch KIND: sets LIBTORCH. KIND is cpu, cuda or a build of choose_torch. The torch wheel serves as the C++ SDK.
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
  torch_wheels "$kind"
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

# prepare_libtorch: sets LIBTORCH for this machine, and `cuda` to the value of MINIMIND_CUDA. The CUDA wheels are large; only a machine with a
# driver gets them. A LIBTORCH of the user's may lack them, so CMake looks.
prepare_libtorch() {
  local kind=AUTO
  cuda=AUTO
  if [ -z "${LIBTORCH:-}" ]; then
    kind=$(choose_torch)
    if [ "$kind" = cpu ]; then cuda=OFF; else cuda=ON; fi
  fi
  fetch_libtorch "$kind"
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
