#!/usr/bin/env python3
"""The set-up of scripts/quickstart.sh and scripts/torchrun.sh on machines with several NVIDIA drivers: which LibTorch is installed, what CMake is told.
All programs that they start are stubs."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
INDEX = "file:///wheels"
# The stub of python3 makes an environment whose python notes what pip shall install.
PYTHON = """#!/bin/sh
mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/torch"
printf '#!/bin/sh\\necho "$*" > "%s"\\n' "$NOTES/pip" > "$3/bin/python"
printf '#!/bin/sh\necho "$*" > "%s"\n' "$NOTES/torchrun" > "$3/bin/torchrun"
chmod +x "$3"/bin/*
"""
OPEN_MODULE = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build  (dvs-builder@U22)\nGCC version:  gcc version 12.2.0\n"
CLOSED_MODULE = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version:  gcc version 12.2.0 (Debian)\n"


class SetUp(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.stubs = self.folder / "stubs"
        self.stubs.mkdir()
        self.root = self.folder / "checkout"
        (self.root / "scripts").mkdir(parents=True)
        for name in ("setup.sh", "quickstart.sh", "torchrun.sh"):
            shutil.copy(SCRIPTS / name, self.root / "scripts")
            script = self.root / "scripts" / name
            # This machine's own driver must not matter.
            script.write_text(script.read_text().replace("/proc/driver/nvidia/version", str(self.folder / "module")))
        self.stub("dpkg-query", "#!/bin/sh\nprintf installed\n")
        self.stub("python3", PYTHON)
        self.stub("cmake", '#!/bin/sh\necho "$*" > "$NOTES/cmake"\nexit 1\n')

    def stub(self, name, text):
        (self.stubs / name).write_text(text)
        (self.stubs / name).chmod(0o755)

    def start(self, driver=None, cards=1, module=None, command=("quickstart.sh",), **environment):
        """Runs the quickstart up to CMake, or another script; returns what pip and CMake or torchrun got and what was said."""
        for name in ("pip", "cmake", "torchrun", "module"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        failing = "echo NVIDIA-SMI has failed\nexit 9\n"
        self.stub("nvidia-smi", "#!/bin/sh\n" + (f"echo {driver}\n" * cards if driver else failing))
        if module:
            (self.folder / "module").write_text(module)
        plain = {"PATH": f"{self.stubs}:/usr/bin:/bin", "HOME": str(self.folder), "NOTES": str(self.folder), "MINIMIND_CACHE": str(self.folder / "cache")}
        result = subprocess.run(["bash", str(self.root / "scripts" / command[0]), *command[1:]], env={**plain, **environment}, capture_output=True, text=True)
        pip, cmake, torchrun = (path.read_text() if path.exists() else "" for path in (self.folder / name for name in ("pip", "cmake", "torchrun")))
        return pip, cmake + torchrun, result.stderr

    def test_the_driver_chooses_the_build(self):
        for driver, build, cuda in (("580.65.06", "torch==2.11.0 nvidia-cuda-crt", "ON"), ("610.10", "torch==2.11.0 nvidia-cuda-crt", "ON"),
                                    ("579.99", "torch==2.11.0+cu128", "ON"), ("570.00.01", "torch==2.11.0+cu128", "ON"),
                                    ("569.9", "torch==2.11.0+cu126", "ON"), ("525.60.13", "torch==2.11.0+cu126", "ON"),
                                    ("524.99", "torch==2.11.0+cpu", "OFF"), (None, "torch==2.11.0+cpu", "OFF")):
            pip, cmake, told = self.start(driver, MINIMIND_TORCH_INDEX=INDEX)
            self.assertIn(build, pip, (driver, told))
            self.assertIn(f"-DMINIMIND_CUDA={cuda}", cmake, (driver, told))
            if "+" in build:
                self.assertIn(f"--find-links {INDEX}/{build.split('+')[1]}/torch/", pip, driver)

    def test_an_old_driver_without_an_index_gets_the_cpu_build_and_one_line_that_says_so(self):
        pip, cmake, told = self.start("535.104.05", cards=8)
        self.assertIn("--no-deps torch==2.11.0 nvidia-cuda-runtime", pip)
        self.assertIn("-DMINIMIND_CUDA=OFF", cmake)
        said = [line for line in told.splitlines() if "535.104.05" in line]
        self.assertEqual(len(said), 1, told)
        self.assertIn("set MINIMIND_TORCH_INDEX", said[0])
        _, _, told = self.start("470.10", MINIMIND_TORCH_INDEX=INDEX)
        self.assertIn("expected 525 or later, found 470.10", told)

    def test_the_kernel_module_names_the_driver_where_nvidia_smi_does_not(self):
        for module, build in ((OPEN_MODULE, "+cu128"), (CLOSED_MODULE, "+cu126")):
            pip, _, told = self.start(module=module, MINIMIND_TORCH_INDEX=INDEX)
            self.assertIn(f"torch==2.11.0{build}", pip, told)

    def test_an_index_of_one_build_is_taken_whatever_the_driver_is(self):
        for driver in ("580.65.06", "535.104.05", None):
            pip, cmake, _ = self.start(driver, MINIMIND_TORCH_INDEX=f"{INDEX}/cu128/")
            self.assertIn(f"torch==2.11.0+cu128 --find-links {INDEX}/cu128/torch/ nvidia-cuda-nvcc-cu12==12.8.*", pip)
            self.assertIn("-DMINIMIND_CUDA=ON", cmake)
        _, cmake, told = self.start("580.65.06", MINIMIND_TORCH_INDEX=f"{INDEX}/cu118")
        self.assertEqual(cmake, "")
        self.assertIn("MINIMIND_TORCH_INDEX: expected a folder or an address that ends in cpu, cu126, cu128 or cu130", told)

    def test_without_an_index_and_a_driver_the_wheel_needs_no_index(self):
        pip, _, _ = self.start()
        self.assertIn("--no-deps torch==2.11.0 nvidia-cuda-runtime", pip)
        pip, _, _ = self.start("580.65.06")
        self.assertNotIn("find-links", pip)

    def test_a_libtorch_of_the_user_is_examined_by_cmake(self):
        """It may lie without the CUDA wheels on a machine with a driver, and with them on a machine without."""
        libtorch = self.folder / "libtorch"
        (libtorch / "lib").mkdir(parents=True)
        (libtorch / "lib/libtorch_cpu.so").touch()
        for driver in ("580.65.06", "535.104.05", None):
            pip, cmake, told = self.start(driver, LIBTORCH=str(libtorch))
            self.assertEqual(pip, "")
            self.assertIn("-DMINIMIND_CUDA=AUTO", cmake, told)
            self.assertNotIn("driver", told)

    def test_torchrun_comes_with_all_that_it_loads(self):
        """The default wheel's needs the CUDA libraries on every machine, that of the CPU build does not."""
        for driver, index, build in (("580.65.06", "", "torch==2.11.0"), (None, "", "torch==2.11.0"), ("535.104.05", "", "torch==2.11.0"),
                                     (None, INDEX, "torch==2.11.0+cpu"), ("535.104.05", INDEX, "torch==2.11.0+cu126")):
            pip, torchrun, told = self.start(driver, command=("torchrun.sh", "--nproc_per_node", "2", "pretrain_vlm"), MINIMIND_TORCH_INDEX=index)
            self.assertIn(f"{build} ", pip.replace("\n", " "), told)
            self.assertNotIn("--no-deps", pip)
            self.assertEqual(torchrun, "--no-python --nproc_per_node 2 pretrain_vlm\n", told)

    def test_a_torchrun_that_cannot_start_is_named_with_the_cure(self):
        """As in the CPU set-up, which lacks the CUDA libraries and Python packages that torch loads."""
        libtorch = self.folder / "own/lib/python3.11/site-packages/torch"
        (libtorch / "lib").mkdir(parents=True)
        (libtorch / "lib/libtorch_cpu.so").touch()
        torchrun = self.folder / "own/bin/torchrun"
        torchrun.parent.mkdir()
        for script, said, ran in (("echo Traceback >&2; echo 'ImportError: libcufile.so.0: cannot open' >&2; exit 1", "found: ImportError: libcufile.so.0: cannot open; unset LIBTORCH", ""),
                                  ('[ "$1" = --help ] || echo "$*" > "$NOTES/torchrun"', "", "--no-python pretrain_vlm\n")):
            torchrun.write_text("#!/bin/sh\n" + script + "\n")
            torchrun.chmod(0o755)
            _, started, told = self.start(command=("torchrun.sh", "pretrain_vlm"), LIBTORCH=str(libtorch))
            self.assertIn(said, told)
            self.assertEqual((started, "error" in told), (ran, bool(said)), told)


unittest.main()
