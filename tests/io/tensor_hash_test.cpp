#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io/dtype_names.h"
#include "io/io_support.h"
#include "io/mapped_pages.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::TemporaryFolder;

TEST(TensorHash, DependsOnNamesDtypesShapesAndNumbers) {
  const at::Tensor numbers = at::arange(6, at::kFloat);
  const ContentHash hash = hash_tensors({{"a", numbers}});
  EXPECT_EQ(hash_tensors({{"a", numbers.clone()}}), hash);
  EXPECT_NE(hash_tensors({{"b", numbers}}), hash);
  EXPECT_NE(hash_tensors({{"a", numbers.view({2, 3})}}), hash);
  EXPECT_NE(hash_tensors({{"a", numbers.view(at::kInt)}}), hash);
  EXPECT_NE(hash_tensors({{"a", numbers.add(1)}}), hash);
  EXPECT_NE(hash_tensors({{"a", numbers}}, hash_content("x")), hash);
}

TEST(TensorHash, DoesNotDependOnOrderOrStrides) {
  const at::Tensor a = at::arange(6, at::kFloat).view({2, 3}), b = at::ones({4}, at::kLong);
  EXPECT_EQ(hash_tensors({{"a", a}, {"b", b}}), hash_tensors({{"b", b}, {"a", a.t().contiguous().t()}}));
  EXPECT_NE(hash_tensors({{"a", a}, {"b", b}}), hash_tensors({{"a", a}}));
}

TEST(TensorHash, OfAMappedFileIsThatOfItsTensors) {
  const TemporaryFolder folder;
  StateDict state;
  state.add("a", at::arange(5000, at::kFloat));
  write_pth(folder / "a.pth", state);
  const StateDict mapped = read_state_dict(folder / "a.pth");
  EXPECT_EQ(hash_tensors(mapped.entries()), hash_tensors(state.entries()));
  EXPECT_EQ(hash_tensors(mapped.entries()), hash_tensors(state.entries())) << "after its pages were released";
}

TEST(DtypeNames, LeadToTheDtypeAndBack) {
  for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
    const DtypeNames& names = names_of(dtype);
    EXPECT_EQ(dtype_of_flag(names.flag, "dtype"), dtype);
    EXPECT_EQ(dtype_by(&DtypeNames::safetensors, names.safetensors), dtype);
    EXPECT_EQ(dtype_by(&DtypeNames::storage, names.storage), dtype);
  }
  EXPECT_EQ(names_of(at::kBFloat16).safetensors, "BF16");
  EXPECT_EQ(names_of(at::kLong).storage, "LongStorage");
}

TEST(DtypeNames, RefuseNamesThatAreNotInTheTable) {
  EXPECT_EQ(dtype_by(&DtypeNames::safetensors, "Q4"), at::ScalarType::Undefined);
  EXPECT_EQ(dtype_by(&DtypeNames::storage, ""), at::ScalarType::Undefined);
  EXPECT_EQ(error_of([] { dtype_of_flag("int8", "--dtype"); }),
            "--dtype: expected float32, float16 or bfloat16, found int8");
  EXPECT_NE(error_of([] { dtype_of_flag("", "--dtype"); }), "");
  EXPECT_THROW(names_of(at::kQInt8), std::logic_error);
}

}  // namespace
}  // namespace minimind
