#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "io/io_support.h"

namespace minimind {
namespace {

using testing::error_of;
using testing::run_python;
using testing::same_bytes;
using testing::TemporaryFolder;

/// Reading and writing safetensors in a few lines, so that no package beside torch is needed.
constexpr const char* kSafetensors = R"PY(
import collections, json, struct, sys, torch
NAMES = {torch.float32: 'F32', torch.float16: 'F16', torch.bfloat16: 'BF16', torch.float64: 'F64', torch.int64: 'I64',
         torch.int32: 'I32', torch.int16: 'I16', torch.int8: 'I8', torch.uint8: 'U8', torch.bool: 'BOOL',
         torch.complex64: 'C64'}
def raw(t):
    t = t.detach().contiguous()
    return b'' if t.numel() == 0 else bytes(t.reshape(-1).view(torch.uint8).tolist()) if t.numel() < 10000 else t.reshape(-1).view(torch.uint8).numpy().tobytes()
def read(path):
    data = open(path, 'rb').read()
    size, = struct.unpack('<Q', data[:8])
    header = json.loads(data[8:8 + size])
    body = data[8 + size:]
    meta = header.pop('__metadata__', {})
    return {k: (v['dtype'], v['shape'], body[v['data_offsets'][0]:v['data_offsets'][1]]) for k, v in header.items()}, meta
def write(path, tensors):
    header, body = {}, b''
    for k, t in tensors.items():
        b = raw(t)
        header[k] = {'dtype': NAMES[t.dtype], 'shape': list(t.shape), 'data_offsets': [len(body), len(body) + len(b)]}
        body += b
    text = json.dumps(header).encode()
    open(path, 'wb').write(struct.pack('<Q', len(text)) + text + body)
)PY";

TEST(Python, LoadsOurPthWithWeightsOnly) {
  MINIMIND_REQUIRE_PYTHON();
  const TemporaryFolder folder;
  const at::Tensor base = at::arange(24, at::kFloat).view({4, 6}).div(7);
  StateDict state;
  state.add("tok_embeddings.weight", base);
  state.add("output.weight", base);
  state.add("transposed", base.t());
  state.add("row", base.select(0, 2));
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kDouble, at::kLong, at::kInt, at::kShort, at::kChar,
                                     at::kByte, at::kBool, at::kComplexFloat}) {
    state.add(std::string("dtype.") + c10::toString(dtype), base.to(dtype));
  }
  state.add("scalar", at::scalar_tensor(-3, at::kLong));
  state.add("empty", at::empty({0, 3}));
  StateDict copies;
  for (const auto& [name, tensor] : state.entries()) {
    copies.add(name, tensor.clone());
  }
  write_pth(folder / "a.pth", state);
  write_safetensors(folder / "a.safetensors", copies, {{"format", "pt"}});
  run_python(folder, std::string(kSafetensors) + R"PY(
for mmap in (False, True):
    state = torch.load(sys.argv[1], weights_only=True, mmap=mmap)
    assert isinstance(state, collections.OrderedDict), type(state)
    expected, meta = read(sys.argv[2])
    assert meta == {'format': 'pt'}, meta
    assert set(state) == set(expected) and len(state) == 16, (list(state), list(expected))
    assert list(state)[:4] == ['tok_embeddings.weight', 'output.weight', 'transposed', 'row']
    for key, tensor in state.items():
        assert (NAMES[tensor.dtype], list(tensor.shape), raw(tensor)) == expected[key], key
    assert state['tok_embeddings.weight'].data_ptr() == state['output.weight'].data_ptr()
    assert state['transposed'].untyped_storage().data_ptr() == state['output.weight'].untyped_storage().data_ptr()
    assert state['transposed'].stride() == (1, 6)
)PY",
             (folder / "a.pth").string() + " " + (folder / "a.safetensors").string());
}

constexpr const char* kWriteFiles = R"PY(
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(5, 3)
        self.b = torch.nn.Linear(5, 3)
        self.b.weight = self.a.weight
torch.manual_seed(0)
base = torch.randn(6, 8)
state = collections.OrderedDict(Net().state_dict())
for dtype in NAMES:
    state['dtype.' + NAMES[dtype]] = (base * 5).to(dtype)
state['pos_cis'] = torch.polar(torch.ones(6, 4), base[:, :4])
state['transposed'] = base.t()
state['slice'] = base[1:5, 2:7:2]
state['expanded'] = base[:1].expand(4, 8)
state['scalar'] = torch.tensor(7)
state['empty'] = torch.zeros(3, 0)
state['parameter'] = torch.nn.Parameter(torch.randn(2))
state['tied.1'] = state['tied.2'] = torch.randn(4)
out = sys.argv[1]
write(out + '/expected.safetensors', state)
state._metadata = collections.OrderedDict({'': {'version': 1}})
for protocol in (2, 3, 4, 5):
    torch.save(state, f'{out}/ordered_{protocol}.pth', pickle_protocol=protocol)
torch.save(dict(state), out + '/plain.bin')
torch.serialization.set_crc32_options(False)
torch.save(state, out + '/no_checksum.pth')
torch.save(state, out + '/legacy.pth', _use_new_zipfile_serialization=False)
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), out + '/script.pth')
torch.save({'model': dict(state), 'epoch': 3}, out + '/checkpoint.pth')
layer = torch.nn.Linear(2, 2)
optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
layer(torch.ones(1, 2)).sum().backward()
optimizer.step()
torch.save({'epoch': 3, 'step': 70000, 'state_dict': state, 'optimizer': optimizer.state_dict(), 'scaler': {'scale': 65536.0, '_growth_tracker': 0},
            'wandb_id': None, 'best': 0.5, 'done': False, 'rng': torch.get_rng_state()}, out + '/resume.pth')
torch.save({'model': {'state_dict': state}}, out + '/nested.pth')
torch.save({'other': dict(state), 'epoch': 3}, out + '/unknown.pth')
torch.save(Net(), out + '/module.pth')
)PY";

TEST(Python, FilesOfItsAreReadEqual) {
  MINIMIND_REQUIRE_PYTHON();
  const TemporaryFolder folder;
  run_python(folder, std::string(kSafetensors) + kWriteFiles, folder.path().string());
  const StateDict expected = read_state_dict(folder / "expected.safetensors");
  for (const char* name : {"ordered_2.pth", "ordered_3.pth", "ordered_4.pth", "ordered_5.pth", "plain.bin",
                           "no_checksum.pth", "checkpoint.pth", "resume.pth", "nested.pth"}) {
    const StateDict found = read_state_dict(folder / name);
    ASSERT_EQ(found.size(), expected.size()) << name;
    for (const auto& [key, tensor] : expected.entries()) {
      ASSERT_NE(found.find(key), nullptr) << name << " " << key;
      EXPECT_TRUE(same_bytes(*found.find(key), tensor)) << name << " " << key;
    }
    EXPECT_EQ(found.find("tied.1")->const_data_ptr(), found.find("tied.2")->const_data_ptr()) << name;
    EXPECT_EQ(found.find("a.weight")->const_data_ptr(), found.find("b.weight")->const_data_ptr()) << name;
    EXPECT_EQ(found.find("slice")->strides(), at::IntArrayRef({8, 2})) << name;
  }
}

TEST(Python, ComplexTensorsOfItsAreReadEqual) {
  MINIMIND_REQUIRE_PYTHON();
  const TemporaryFolder folder;
  run_python(folder, R"PY(
import collections, sys, torch
angles = torch.outer(torch.arange(4.0), torch.tensor([1.0, 0.1, 0.01]))
pos_cis = torch.polar(torch.ones_like(angles), angles)
torch.save(collections.OrderedDict(pos_cis=pos_cis, wide=pos_cis.to(torch.complex128), angles=angles), sys.argv[1])
)PY",
             (folder / "a.pth").string());
  const StateDict found = read_state_dict(folder / "a.pth");
  const at::Tensor pos_cis = *found.find("pos_cis"), angles = *found.find("angles");
  EXPECT_EQ(pos_cis.scalar_type(), at::kComplexFloat);
  EXPECT_TRUE(at::allclose(at::real(pos_cis), angles.cos()));
  EXPECT_TRUE(at::allclose(at::imag(pos_cis), angles.sin()));
  EXPECT_TRUE(same_bytes(found.find("wide")->to(at::kComplexFloat), pos_cis));
  StateDict again;
  again.add("pos_cis", pos_cis);
  write_safetensors(folder / "a.safetensors", again);
  EXPECT_TRUE(same_bytes(*read_state_dict(folder / "a.safetensors").find("pos_cis"), pos_cis));
}

TEST(Python, FilesOfOtherKindsAreRefusedWithTheCure) {
  MINIMIND_REQUIRE_PYTHON();
  const TemporaryFolder folder;
  run_python(folder, std::string(kSafetensors) + kWriteFiles, folder.path().string());
  const auto error = [&](const char* name) { return error_of([&] { read_state_dict(folder / name); }); };
  EXPECT_NE(error("legacy.pth").find("torch.save(torch.load(path"), std::string::npos) << error("legacy.pth");
  EXPECT_NE(error("script.pth").find("TorchScript"), std::string::npos) << error("script.pth");
  EXPECT_NE(error("unknown.pth").find("checkpoint[\"other\"]"), std::string::npos) << error("unknown.pth");
  EXPECT_NE(error("module.pth").find("__main__.Net"), std::string::npos) << error("module.pth");
}

}  // namespace
}  // namespace minimind
