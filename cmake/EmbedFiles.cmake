# Turns files into a C++ source that defines FUNCTION of HEADER, a list of TYPE {name, bytes}:
# cmake -DFOLDER=… -DFILES=a;b -DOUTPUT=page.cpp -DHEADER=web/page.h -DTYPE=PageFile -DFUNCTION=page_files -P EmbedFiles.cmake
set(arrays "")
set(entries "")
set(number 0)
foreach(file ${FILES})
  file(READ "${FOLDER}/${file}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(APPEND arrays "constexpr unsigned char kFile${number}[] = {${bytes}0};\n")
  string(APPEND entries
         "      {\"${file}\", {reinterpret_cast<const char*>(kFile${number}), sizeof kFile${number} - 1}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUTPUT}" "#include \"${HEADER}\"\n
namespace minimind {\n
namespace {\n
${arrays}
}  // namespace\n
const std::vector<${TYPE}>& ${FUNCTION}() {
  static const std::vector<${TYPE}> files = {
${entries}  };
  return files;
}\n
}  // namespace minimind\n")
