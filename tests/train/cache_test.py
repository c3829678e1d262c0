#!/usr/bin/env python3
"""--feature_cache in whole trainings: the same bytes as without, whatever happened to the cache before. See train_programs.py."""
import random
import shutil
import subprocess
import time
import unittest

from train_programs import SAMPLE, Training, free_port, losses, main, training, wait_until, weights

RUN = ["--epochs", "2", "--save_interval", "0"]


class Cache(Training):
    def setUp(self):
        super().setUp()
        self.cache = self.out / "cache"
        self.run_training(self.out / "plain", *RUN, "--feature_memory_mb", "0")
        self.plain = weights(self.out / "plain")

    def cached(self, name, *extra, **changes):
        """What a run with the cache tells."""
        return self.run_training(self.out / name, *RUN, "--feature_cache", self.cache, "--feature_cache_dtype", "float32", *extra, **changes)

    def rows(self):
        return next(self.cache.glob("*.rows"))

    def test_float32_cache_changes_no_byte_and_tells_its_need_first(self):
        told = self.cached("first")
        self.assertEqual(weights(self.out / "first"), self.plain)
        self.assertIn("0 are there", told)
        lines = told.splitlines()
        need = next(i for i, line in enumerate(lines) if line.startswith("feature cache"))
        step = next(i for i, line in enumerate(lines) if line.startswith("pretrain 1/"))
        self.assertLess(need, step)
        self.assertIn("48 images x", lines[need])
        told = self.cached("second")
        self.assertEqual(weights(self.out / "second"), self.plain)
        self.assertIn("48 are there", told)

    def test_damaged_rows_are_rebuilt(self):
        self.cached("first")
        chance = random.Random(3)
        whole = self.rows().read_bytes()
        damaged = bytearray(whole)
        for _ in range(10):
            damaged[chance.randrange(len(damaged))] ^= 0x40
        self.rows().write_bytes(damaged)
        self.cached("again")
        self.assertEqual(weights(self.out / "again"), self.plain)
        self.assertGreater(len(self.rows().read_bytes()), len(whole))
        index = next(self.cache.glob("*.index"))
        index.write_bytes(index.read_bytes()[:100] + b"x" * 50)
        self.cached("third")
        self.assertEqual(weights(self.out / "third"), self.plain)

    def test_a_killed_fill_is_gone_on_with(self):
        chance = random.Random(4)
        start = time.monotonic()
        self.cached("first")
        seconds = time.monotonic() - start
        shutil.rmtree(self.cache)
        for kill in range(5):
            process = self.start(training(self.out / f"killed{kill}", *RUN, "--feature_cache", self.cache, "--feature_cache_dtype", "float32"))
            try:
                process.wait(chance.uniform(0.3, 0.9) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.cached("again")
        self.assertEqual(weights(self.out / "again"), self.plain)

    def test_several_runs_and_ranks_fill_it_at_once(self):
        port = free_port()
        cache = ["--feature_cache", self.cache, "--feature_cache_dtype", "float32"]
        alone = [self.start(training(self.out / name, *RUN, *cache)) for name in ("a", "b")]
        ranks = [self.start(training(self.out / "two", "--epochs", 2, "--batch_size", 2, *cache), RANK=rank, WORLD_SIZE=2, LOCAL_RANK=rank,
                            MASTER_ADDR="127.0.0.1", MASTER_PORT=port) for rank in (0, 1)]
        for process in alone + ranks:
            self.finish(process)
        self.assertEqual(weights(self.out / "a"), self.plain)
        self.assertEqual(weights(self.out / "b"), self.plain)
        self.assertEqual(len(losses(self.out / "two")), 24)
        told = self.cached("after")
        self.assertIn("48 are there", told)
        self.assertEqual(weights(self.out / "after"), self.plain)

    def test_another_image_or_encoder_is_not_taken_for_the_old_one(self):
        self.cached("first")
        images = self.out / "images"
        shutil.copytree(SAMPLE / "images", images)
        names = sorted(images.iterdir())
        for left, right in zip(names[0::2], names[1::2]):
            content = left.read_bytes()
            left.write_bytes(right.read_bytes())
            right.write_bytes(content)
        self.run_training(self.out / "other_plain", *RUN, "--images_dir", images)
        self.cached("other", "--images_dir", images)
        self.assertEqual(weights(self.out / "other"), weights(self.out / "other_plain"))
        self.assertNotEqual(weights(self.out / "other"), self.plain)
        clip = self.out / "clip"
        shutil.copytree(SAMPLE / "clip", clip)
        content = bytearray((clip / "model.safetensors").read_bytes())
        content[len(content) // 2] ^= 1  # one bit of one weight
        (clip / "model.safetensors").write_bytes(content)
        self.run_training(self.out / "clip_plain", *RUN, "--clip_dir", clip)
        told = self.cached("clip", "--clip_dir", clip)
        self.assertIn("0 are there", told)
        self.assertEqual(weights(self.out / "clip"), weights(self.out / "clip_plain"))


if __name__ == "__main__":
    main()
