# Libraries of the distribution that libminimind.a needs at link time, by their pkg-config names: targets PkgConfig::NAME
# in capitals. The package's config file includes this file too.
set(MINIMIND_LIBRARIES sentencepiece libjpeg libwebp libwebpdemux zlib libedit)
include_guard(GLOBAL)
find_package(PkgConfig REQUIRED)
foreach(library ${MINIMIND_LIBRARIES})
  string(TOUPPER ${library} name)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${library})
endforeach()
