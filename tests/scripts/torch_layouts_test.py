#!/usr/bin/env python3
"""cmake/MinimindTorch.cmake on folders in the layouts of the NVIDIA wheels for CUDA 13 and CUDA 12, and on folders that lack something."""
import pathlib
import subprocess
import tempfile
import unittest

MODULES = pathlib.Path(__file__).resolve().parents[2] / "cmake"
PROJECT = f"""cmake_minimum_required(VERSION 3.22)
project(layout LANGUAGES NONE)
list(APPEND CMAKE_MODULE_PATH "{MODULES}")
include(MinimindTorch)
get_target_property(includes minimind_torch INTERFACE_INCLUDE_DIRECTORIES)
file(WRITE "${{CMAKE_BINARY_DIR}}/found" "${{MINIMIND_WITH_CUDA}}\\n${{includes}}\\n${{MINIMIND_TORCH_LINK}}\\n")
"""
CUDA_13 = {"cu13": ["cuda_runtime_api.h", "crt/host_config.h", "nv/target", "cublas_v2.h", "cublasLt.h", "cusparse.h", "cusolverDn.h"],
           "nccl": ["nccl.h"], "cudnn": ["cudnn.h"]}
CUDA_12 = {"cuda_runtime": ["cuda_runtime_api.h"], "cuda_nvcc": ["crt/host_config.h"], "cuda_cccl": ["nv/target"], "cublas": ["cublas_v2.h", "cublasLt.h"],
           "cusparse": ["cusparse.h"], "cusolver": ["cusolverDn.h"], "nccl": ["nccl.h"], "cudnn": ["cudnn.h"], "cufile": ["cufile.h"]}


class Layouts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.site = self.folder / "site-packages"
        (self.folder / "CMakeLists.txt").write_text(PROJECT)

    def touch(self, *names):
        for name in names:
            path = self.site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def make(self, parts, cudart):
        self.touch("torch/lib/libtorch_cpu.so", "torch/lib/libtorch_cuda.so", "torch/lib/libgomp.so.1")
        for part, headers in parts.items():
            self.touch(*(f"nvidia/{part}/include/{header}" for header in headers))
            (self.site / f"nvidia/{part}/lib").mkdir()
        self.touch(cudart)

    def configure(self, cuda="AUTO"):
        """(CUDA is on, include folders, the linker's arguments), or CMake's message."""
        result = subprocess.run(["cmake", "-G", "Ninja", "-S", self.folder, "-B", self.folder / "build", f"-DLIBTORCH={self.site / 'torch'}", f"-DMINIMIND_CUDA={cuda}"],
                                capture_output=True, text=True)
        if result.returncode != 0:
            return " ".join(result.stderr.split())
        on, includes, link = (self.folder / "build/found").read_text().splitlines()
        return on, [str(pathlib.Path(path).relative_to(self.site)) for path in includes.split(";")], link.split(";")

    def check(self, parts, cudart, folders):
        on, includes, link = self.configure()
        self.assertEqual(on, "ON")
        self.assertEqual(includes[2:], [f"nvidia/{folder}/include" for folder in folders])
        self.assertIn(f"-l:{pathlib.Path(cudart).name}", link)
        run_path = link[-1].split(",-rpath,")[1].split(":")
        self.assertEqual(set(run_path), {str(self.site / "torch/lib"), *(f"{self.site}/nvidia/{part}/lib" for part in parts)})
        self.assertEqual({argument[2:] for argument in link if argument.startswith("-L")}, set(run_path))

    def test_of_cuda_13_are_found(self):
        cudart = "nvidia/cu13/lib/libcudart.so.13"
        self.make(CUDA_13, cudart)
        self.check(CUDA_13, cudart, ["cu13", "nccl"])

    def test_of_cuda_12_are_found(self):
        cudart = "nvidia/cuda_runtime/lib/libcudart.so.12"
        self.make(CUDA_12, cudart)
        self.check(CUDA_12, cudart, ["cuda_runtime", "cuda_nvcc", "cuda_cccl", "nccl", "cublas", "cusparse", "cusolver"])

    def test_without_a_header_build_for_the_cpu_or_say_which(self):
        for part, header in (("cuda_nvcc", "crt/host_config.h"), ("nccl", "nccl.h")):
            self.make({name: headers for name, headers in CUDA_12.items() if name != part}, "nvidia/cuda_runtime/lib/libcudart.so.12")
            on, _, link = self.configure()
            self.assertEqual(on, "OFF")
            self.assertNotIn("-l:libtorch_cuda.so", link)
            self.assertIn(f"found no {header}.", self.configure("ON"))
            self.setUp()

    def test_of_the_cpu_set_up_are_in_the_run_path(self):
        self.touch("torch/lib/libtorch_cpu.so", "nvidia/cu13/lib/libcupti.so.13")
        on, includes, link = self.configure()
        self.assertEqual((on, len(includes)), ("OFF", 2))
        self.assertIn(str(self.site / "nvidia/cu13/lib"), link[-1])


unittest.main()
