// The make-believe device itself: what it counts, what it refuses, and that its numbers are the CPU's.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include "support/fake_cuda/counts.h"
#include "support/fake_cuda/memory.h"

namespace {

using fake_cuda::Counts;

const c10::Device kFirst(c10::kCUDA, 0), kSecond(c10::kCUDA, 1);

at::Tensor doubled(const at::Tensor& x) {
  return x * 2 + 1 - 1;
}
TORCH_LIBRARY(fake_cuda_test, m) {
  m.def("doubled(Tensor x) -> Tensor");
}
TORCH_LIBRARY_IMPL(fake_cuda_test, CPU, m) {
  m.impl("doubled", TORCH_FN(doubled));
}

at::Tensor call_doubled(const at::Tensor& x) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("fake_cuda_test::doubled", "")
                             .typed<at::Tensor(const at::Tensor&)>();
  return op.call(x);
}

struct Work {
  int64_t operations, waits, misplaced;
};
template <typename Function>
Work count(Function function) {
  const auto now = [] { return Work{Counts::get().operations(), Counts::get().waits(), Counts::get().misplaced()}; };
  const Work before = now();
  function();
  const Work after = now();
  return {after.operations - before.operations, after.waits - before.waits, after.misplaced - before.misplaced};
}

TEST(FakeCuda, CountsEachFusedOperationAsOne) {
  const auto random = [](at::IntArrayRef shape) { return at::randn(shape).to(kFirst); };
  const std::vector<at::Tensor> list = {random({3}), random({4})};
  const at::Tensor q = random({2, 4, 5, 8}), kv = random({2, 2, 5, 8}), x = random({6, 8}), w = random({8});
  EXPECT_EQ(count([&] { at::_foreach_mul_(list, 2.0); }).operations, 1);
  EXPECT_EQ(count([&] { at::_fused_rms_norm(x, {8}, w, 1e-5); }).operations, 1);
  EXPECT_EQ(count([&] { at::layer_norm(x, {8}, w, w); }).operations, 1);
  EXPECT_EQ(count([&] { at::add(x, w); }).operations, 1);
  EXPECT_EQ(count([&] { call_doubled(x); }).operations, 1);
  const at::Tensor h = q.to(at::kBFloat16), g = kv.to(at::kBFloat16);
  EXPECT_EQ(count([&] { at::scaled_dot_product_attention(h, g, g, {}, 0, true, {}, true); }).operations, 1);
  EXPECT_EQ(count([&] { at::scaled_dot_product_attention(q, q, q, {}, 0, true); }).operations, 1);
  EXPECT_GT(count([&] { at::scaled_dot_product_attention(q, kv, kv, {}, 0, true, {}, true); }).operations, 5);
}

TEST(FakeCuda, GivesTheNumbersOfTheCpu) {
  const auto attend = [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
    return at::scaled_dot_product_attention(q, k, v, {}, 0, true, {}, true);
  };
  std::vector<at::Tensor> host, card;
  for (const auto& [heads, seed] : {std::pair{4, 1}, std::pair{2, 2}, std::pair{2, 3}}) {
    at::manual_seed(static_cast<uint64_t>(seed));
    host.push_back(at::randn({2, heads, 5, 8}).to(at::kBFloat16).set_requires_grad(true));
    card.push_back(host.back().detach().to(kSecond).set_requires_grad(true));
  }
  attend(host[0], host[1], host[2]).sum().backward();
  attend(card[0], card[1], card[2]).sum().backward();
  for (size_t i = 0; i < host.size(); ++i) {
    EXPECT_TRUE(at::allclose(host[i].grad(), card[i].grad().cpu(), 2e-2, 2e-2)) << i;
  }
  const at::Tensor x = at::randn({6, 8}), w = at::randn({8});
  const auto normed = [&](c10::Device device) {
    const at::Tensor of = x.detach().clone().to(device).set_requires_grad(true);
    const at::Tensor by = w.detach().clone().to(device).set_requires_grad(true);
    const at::Tensor out = std::get<0>(at::_fused_rms_norm(of, {8}, by, 1e-5));
    out.square().sum().backward();
    return std::vector{out.detach().cpu(), of.grad().cpu(), by.grad().cpu()};
  };
  const auto expected = normed(c10::kCPU), found = normed(kSecond);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(at::allclose(expected[i], found[i], 1e-5, 1e-6)) << i;
  }
  EXPECT_TRUE(at::equal(call_doubled(x), call_doubled(x.to(kSecond)).cpu()));
}

TEST(FakeCuda, SeesWorkForACardThatIsNotCurrent) {
  at::accelerator::setDeviceIndex(0);
  const at::Tensor x = at::ones({4}, kSecond);
  EXPECT_GT(count([&] { x.add_(1); }).misplaced, 0);
  EXPECT_GT(count([&] { at::empty({4}, kSecond); }).misplaced, 0);
  EXPECT_GT(count([&] { x.cpu(); }).misplaced, 0);
  at::accelerator::setDeviceIndex(1);
  EXPECT_EQ(count([&] { at::add(x, at::empty({4}, kSecond)).cpu(); }).misplaced, 0);
  at::accelerator::setDeviceIndex(0);
}

TEST(FakeCuda, RefusesTensorsOfDifferentDevices) {
  EXPECT_THROW(at::add(at::ones({4}, kFirst), at::ones({4}, kSecond)), c10::Error);
  EXPECT_THROW(at::add(at::ones({4}, kFirst), at::ones({4})), c10::Error);
  EXPECT_THROW(at::accelerator::setDeviceIndex(7), c10::Error);
}

TEST(FakeCuda, CountsTheWaitsOfTheHost) {
  const at::Tensor page = at::ones({4}), pinned = page.pin_memory();
  EXPECT_TRUE(pinned.is_pinned());
  EXPECT_FALSE(page.is_pinned());
  EXPECT_EQ(count([&] { page.to(kFirst); }).waits, 1);
  EXPECT_EQ(count([&] { page.to(kFirst, page.scalar_type(), true); }).waits, 1);
  EXPECT_EQ(count([&] { pinned.to(kFirst, page.scalar_type(), true); }).waits, 0);
  const at::Tensor x = pinned.to(kFirst);
  EXPECT_EQ(count([&] { x.sum().item<float>(); }).waits, 1);
  EXPECT_EQ(count([&] { x.index({x > 0}); }).waits, 1);
  EXPECT_EQ(count([&] { at::Tensor(x).index_put_({x > 0}, x.sum()); }).waits, 1);
  EXPECT_EQ(count([&] { at::Tensor(pinned).copy_(x, true); }).waits, 0);
  at::accelerator::setDeviceIndex(0);
  const c10::StreamGuard side(c10::impl::getDeviceGuardImpl(c10::kCUDA)->getNewStream(kFirst));
  EXPECT_EQ(count([&] { page.to(kFirst, page.scalar_type(), true); }).waits, 0);
}

TEST(FakeCuda, CountsAWaitForAnEventOnlyIfTheCardRunsDry) {
  const at::Tensor x = at::ones({4}, kFirst);
  c10::Event event(c10::kCUDA);
  event.record(at::accelerator::getCurrentStream(0));
  EXPECT_EQ(count([&] { event.synchronize(); }).waits, 1);
  x.add_(1);
  EXPECT_EQ(count([&] { event.synchronize(); }).waits, 0);
  EXPECT_EQ(count([&] { at::accelerator::synchronizeDevice(0); }).waits, 1);
}

TEST(FakeCuda, SeesRacesBetweenStreams) {
  at::accelerator::setDeviceIndex(0);
  const c10::Stream side = c10::impl::getDeviceGuardImpl(c10::kCUDA)->getNewStream(kFirst);
  const c10::Stream usual = at::accelerator::getCurrentStream(0);
  const at::Tensor pinned = at::ones({4}).pin_memory();
  const auto upload = [&] {
    const c10::StreamGuard guard(side);
    return pinned.to(kFirst, pinned.scalar_type(), true);
  };
  c10::Event event(c10::kCUDA);
  const auto races = [](const auto& function) {
    const int64_t before = Counts::get().races();
    function();
    return Counts::get().races() - before;
  };
  at::Tensor x = upload();
  EXPECT_GT(races([&] { x.add_(1); }), 0) << "no event";
  EXPECT_GT(races([&] { x.reset(); }), 0) << "given back to the side stream";
  x = upload();
  event.record(side);
  event.block(usual);
  EXPECT_EQ(races([&] { x.add_(1); }), 0);
  x.record_stream(usual);
  EXPECT_EQ(races([&] { x.reset(); }), 0);
}

TEST(FakeCuda, SeesPageLockedMemoryThatChangesTooEarly) {
  at::accelerator::setDeviceIndex(0);
  const at::Tensor pinned = at::ones({4}).pin_memory();
  for (const bool waits : {true, false}) {
    const int64_t before = Counts::get().races();
    const at::Tensor x = pinned.to(kFirst, pinned.scalar_type(), true);
    if (waits) {
      at::accelerator::synchronizeDevice(0);
    }
    at::Tensor(pinned).add_(1);
    at::accelerator::synchronizeDevice(0);
    EXPECT_EQ(Counts::get().races() - before, waits ? 0 : 1);
  }
}

TEST(FakeCuda, GivesADownloadOnlyToAHostThatWaits) {
  at::accelerator::setDeviceIndex(0);
  const at::Tensor x = at::ones({4}, kFirst), target = at::zeros({4}).pin_memory();
  at::Tensor(target).copy_(x, true);
  EXPECT_TRUE(target.isnan().all().item<bool>());
  c10::Event event(c10::kCUDA);
  event.record(at::accelerator::getCurrentStream(0));
  x.add_(1);
  event.synchronize();
  EXPECT_EQ(target[0].item<float>(), 1);
}

TEST(FakeCuda, FailsTheAllocationThatTheTestNames) {
  fake_cuda::DeviceMemory::get().fail_after(2);
  EXPECT_NO_THROW(at::empty({4}, kFirst));
  EXPECT_THROW(at::empty({4}, kFirst), c10::OutOfMemoryError);
  EXPECT_NO_THROW(at::empty({4}, kFirst));
}

}  // namespace
