#include "io/dtype_names.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "minimind/base/error.h"

namespace minimind {

namespace {

using c10::ScalarType;

constexpr std::array<DtypeNames, 15> kDtypes = {{
    {ScalarType::Float, "float32", "F32", "FloatStorage"},
    {ScalarType::Half, "float16", "F16", "HalfStorage"},
    {ScalarType::BFloat16, "bfloat16", "BF16", "BFloat16Storage"},
    {ScalarType::Double, "", "F64", "DoubleStorage"},
    {ScalarType::Long, "", "I64", "LongStorage"},
    {ScalarType::Int, "", "I32", "IntStorage"},
    {ScalarType::Short, "", "I16", "ShortStorage"},
    {ScalarType::Char, "", "I8", "CharStorage"},
    {ScalarType::Byte, "", "U8", "ByteStorage"},
    {ScalarType::Bool, "", "BOOL", "BoolStorage"},
    {ScalarType::ComplexFloat, "", "C64", "ComplexFloatStorage"},
    {ScalarType::ComplexDouble, "", "", "ComplexDoubleStorage"},
    {ScalarType::UInt16, "", "U16", ""},
    {ScalarType::UInt32, "", "U32", ""},
    {ScalarType::UInt64, "", "U64", ""},
}};

}  // namespace

const DtypeNames& names_of(ScalarType dtype) {
  const auto found = std::ranges::find(kDtypes, dtype, &DtypeNames::dtype);
  if (found == kDtypes.end()) {
    throw std::logic_error(concat("a dtype that no file of ours holds: ", c10::toString(dtype)));
  }
  return *found;
}

ScalarType dtype_by(std::string_view DtypeNames::*field, std::string_view name) {
  const auto found = std::ranges::find(kDtypes, name, field);
  return found == kDtypes.end() || name.empty() ? ScalarType::Undefined : found->dtype;
}

ScalarType dtype_of_flag(std::string_view name, const std::string& where) {
  const ScalarType dtype = dtype_by(&DtypeNames::flag, name);
  require(dtype != ScalarType::Undefined, where, ": expected float32, float16 or bfloat16, found ", name);
  return dtype;
}

}  // namespace minimind
