#pragma once

#include <c10/core/ScalarType.h>

#include <string>
#include <string_view>

namespace minimind {

/// The names of a dtype in flags and file formats; "" if a format has no name for it.
struct DtypeNames {
  c10::ScalarType dtype;
  std::string_view flag;         ///< of --dtype and the like: float32, float16 or bfloat16
  std::string_view safetensors;  ///< F32, BF16, …
  std::string_view storage;      ///< class in a `.pth`: FloatStorage, …
};

/// The row of a dtype; throws std::logic_error if there is none.
const DtypeNames& names_of(c10::ScalarType dtype);

/// The dtype of a name by a field of DtypeNames, for example `&DtypeNames::safetensors`; Undefined if none has it.
c10::ScalarType dtype_by(std::string_view DtypeNames::*field, std::string_view name);

/// float32, float16 or bfloat16. Throws Error, with `where` in front, on another name.
c10::ScalarType dtype_of_flag(std::string_view name, const std::string& where);

}  // namespace minimind
