// A libcuda.so.1 of a driver for CUDA 12.4 without a card: what CUDA's runtime and our own code ask of an old driver.
extern "C" {

int cuDriverGetVersion(int* version) {
  *version = 12040;
  return 0;
}

int cuInit(unsigned /*flags*/) {
  constexpr int kNoDevice = 100;
  return kNoDevice;
}
}
