#!/usr/bin/env bash
# Installs the Autobahn test suite into $WHUB_TOOLS/autobahn and says with which Python 2.7.
#
# The suite is Python 2 source. An interpreter is looked for in this order: $PY27; one that pyenv has;
# python2.7 on the path; Debian 11's packages, unpacked (not installed) into $WHUB_TOOLS/python2.7.
. "$(dirname "$0")/../setup/common.sh"

here=$REPO/tools/autobahn
home=$WHUB_TOOLS/autobahn
fresh "$home/stamp" "$here/requirements.txt" "$here/install.sh" &&
  "$home/wstest" --cases >/dev/null 2>&1 && exit 0

works() { [ -x "$1" ] && "$1" -c 'import ssl, ctypes, sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; }

choose_python() {
  local candidate
  for candidate in ${PY27:+"$PY27"} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7 \
    "$(command -v python2.7 || true)" "$WHUB_TOOLS/python2.7/python"; do
    works "$candidate" && { echo "$candidate"; return; }
  done
  unpack_debian_11 >&2
  works "$WHUB_TOOLS/python2.7/python" || die "no working Python 2.7 found; name one with PY27=/path/to/python2.7"
  echo "$WHUB_TOOLS/python2.7/python"
}

# Debian 12 has no Python 2; the packages of its predecessor run on it. apt works here in a private folder,
# so neither the system's sources nor its packages change.
unpack_debian_11() {
  local root=$WHUB_TOOLS/python2.7 apt lib
  say "no Python 2.7 here; unpacking that of Debian 11 into $root"
  rm -rf "$root"
  mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial"
  echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main' \
    >"$root/apt/sources.list"
  apt=(-qq -o Dir::State::lists="$root/apt/lists" -o Dir::Etc::sourcelist="$root/apt/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o Dir::Cache="$root/apt" -o Dir::State::status=/dev/null
    -o APT::Sandbox::User="$(id -un)")
  apt-get "${apt[@]}" update
  (cd "$root" && apt-get "${apt[@]}" download python2.7-minimal libpython2.7-minimal libpython2.7-stdlib \
    libpython2.7-dev libffi7 libssl1.1)
  for package in "$root"/*.deb; do dpkg -x "$package" "$root"; done
  rm -rf "$root"/*.deb "$root/apt"
  lib=$(echo "$root"/usr/lib/*-linux-gnu)
  cat >"$root/python" <<WRAPPER
#!/bin/sh
# CPython 2.7 out of Debian 11's packages.
export PYTHONHOME='$root/usr' LD_LIBRARY_PATH='$lib'
export CPATH='$root/usr/include:$root/usr/include/python2.7'
exec '$root/usr/bin/python2.7' "\$@"
WRAPPER
  chmod +x "$root/python"
}

python=$(choose_python)
say "Autobahn test suite with $("$python" --version 2>&1), $python"
rm -rf "$home"
mkdir -p "$home"

# The last pip for Python 2 is fetched as a wheel by today's pip and run from where it is unpacked.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 2.7 \
  --implementation py --abi none --platform any --dest "$home" pip==20.3.4
python3 -m zipfile -e "$home"/pip-20.3.4-*.whl "$home/pip"
rm "$home"/pip-20.3.4-*.whl

# setuptools and wheel come first, for the packages that exist only as source.
py2_pip() {
  PYTHONPATH=$home/pip "$python" -W ignore -m pip install --quiet --disable-pip-version-check \
    --no-python-version-warning --no-deps "$@" >>"$home/install.log" 2>&1 ||
    { tail -30 "$home/install.log" >&2; die "pip failed; the whole log is $home/install.log"; }
}
py2_pip --target "$home/pip" setuptools==44.0.0 wheel==0.37.1
py2_pip --target "$home/site" --requirement "$here/requirements.txt"

cat >"$home/wstest" <<WRAPPER
#!/bin/sh
exec '$python' '$here/wstest.py' '$home/site' "\$@"
WRAPPER
chmod +x "$home/wstest"
say "$("$home/wstest" --cases | wc -l) cases installed"
mark "$home/stamp" "$here/requirements.txt" "$here/install.sh"
