#include "chat/chat_device.h"

#include "minimind/base/error.h"

namespace minimind {

std::string chat_device_name(const std::string& name, WeightFormat weights) {
  require(!name.starts_with("cuda") || weights != WeightFormat::kInt8, "--weights int8 --device ", name,
          ": expected a CPU for int8, found a GPU; use --weights bfloat16, or --device cpu");
  return name == "auto" ? "cpu" : name;
}

}  // namespace minimind
