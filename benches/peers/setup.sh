#!/usr/bin/env bash
# Builds the llama.cpp that attamba is measured against, into a folder outside the repository:
# a Python environment with numpy, gguf, tokenizers and llama-cpp-python, and one build of the llama.cpp
# inside its source archive, for this machine's CPU. The Python package and llama-bench share that build.
#
#   benches/peers/setup.sh          into ${ATTAMBA_PEERS:-~/.cache/attamba/peers}
#
# Needs Python 3.10 or later with venv, a C and a C++ compiler, and PyPI. About 6 minutes on two cores.
set -euo pipefail

release=0.3.36
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${ATTAMBA_PEERS:-$HOME/.cache/attamba/peers}
python=${PYTHON:-python3}

die() {
    echo "setup.sh: $*" >&2
    exit 1
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null ||
    die "$python is not Python 3.10 or later; set PYTHON to name one."
command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
    die "no C++ compiler was found."

mkdir -p "$peers"
peers=$(cd "$peers" && pwd)
source=$peers/llama_cpp_python-$release
build=$peers/build-$release
bin=$peers/venv/bin

[ -x "$bin/python" ] || "$python" -m venv "$peers/venv" ||
    die "can't create a virtual environment in $peers/venv; on Debian the package python3-venv is needed."
"$bin/python" -m pip install --quiet numpy gguf tokenizers cmake ninja scikit-build-core ||
    die "can't install the Python packages; is PyPI reachable?"

if [ ! -d "$source" ]; then
    work=$(mktemp -d "$peers/.source.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    "$bin/python" -m pip download --quiet --no-deps --no-build-isolation --no-binary llama-cpp-python \
        --dest "$work" "llama-cpp-python==$release" ||
        die "can't download the source of llama-cpp-python $release."
    tar -xzf "$work"/*.tar.gz -C "$work"
    mv "$work/llama_cpp_python-$release" "$source"
fi

# Only llama-bench and the library are used; server, application and examples would only add to the build time.
PATH=$bin:$PATH cmake -S "$source/vendor/llama.cpp" -B "$build" -G Ninja \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DGGML_CCACHE=OFF \
    -DCMAKE_CXX_FLAGS="-include \"$here/gcc_amx.h\"" \
    -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_APP=OFF -DLLAMA_BUILD_SERVER=OFF \
    -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_OPENSSL=OFF >"$build.log" 2>&1 ||
    die "can't configure llama.cpp; see $build.log."
nice -n 10 "$bin/ninja" -C "$build" llama llama-bench >>"$build.log" 2>&1 ||
    die "can't build llama.cpp; see $build.log."

# The package without a library of its own; the scripts point it to the one just built.
CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" PATH=$bin:$PATH \
    "$bin/python" -m pip install --quiet --no-build-isolation "$source" ||
    die "can't install llama-cpp-python from $source."
LLAMA_CPP_LIB_PATH=$build/bin "$bin/python" -c 'import llama_cpp; print("llama-cpp-python", llama_cpp.__version__)' ||
    die "llama-cpp-python was installed but does not load."
echo "ready; run the scripts with $bin/python"
