#!/usr/bin/env python3
"""scripts/network_cost.py: its arithmetic, and its tables in docs/INTERNALS.md."""
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/network_cost.py"
sys.path.insert(0, str(SCRIPT.parent))
import network_cost

DENSE = network_cost.MODELS["512+8"]


def cost(rate, ranks, samples, **changes):
    return network_cost.reduction(DENSE, rate, ranks, samples, {**network_cost.INPUTS, **changes})


class NetworkCost(unittest.TestCase):
    def test_the_document_has_the_tables_of_the_script(self):
        checked = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        other = subprocess.run([sys.executable, SCRIPT, "--check", "links.pcie=21"], capture_output=True, text=True)
        self.assertEqual(other.returncode, 1)
        self.assertIn("expected the tables of network_cost.py", other.stderr)

    def test_models_have_the_parameters_of_the_programs(self):
        self.assertEqual(network_cost.parameters(DENSE), 27_272_192)
        self.assertEqual(network_cost.parameters(network_cost.MODELS["768+16"]), 109_340_160)

    def test_all_of_a_reduction_but_its_last_bucket_can_be_hidden(self):
        sent, busy, hidden = cost(1e9, 8, 256, latency_us=0)
        self.assertAlmostEqual(sent, 2 * 7 / 8 * 4 * 27.272192, places=3)
        last = 1 - 4 * 25e6 / (4 * 27_272_192)
        self.assertAlmostEqual(hidden, 1 - last, places=5)
        self.assertAlmostEqual(busy, sent / 1e9, places=9)

    def test_a_slow_network_hides_as_much_as_backward_lasts(self):
        _, busy, hidden = cost(0.01, 8, 256, bucket_mb=0.1)
        self.assertAlmostEqual(hidden * busy / network_cost.backward_ms(DENSE, 256), 1, places=2)

    def test_the_fewest_samples_are_the_first_that_keep_the_bound(self):
        for link, rate, counts in network_cost.LINKS.values():
            few = network_cost.samples_that_hide(DENSE, rate, counts[0], network_cost.INPUTS)
            waiting = lambda samples: 1 - network_cost.step_ms(DENSE, samples) / network_cost.step_with_network(DENSE, rate, counts[0], samples, network_cost.INPUTS)
            self.assertLessEqual(waiting(few), 0.1 + 1e-9, link)
            fills_launches = few * 1.0 <= DENSE["least_step_ms"] * DENSE["samples_per_ms"] + 1
            self.assertTrue(fills_launches or waiting(few - 1) > 0.1, link)

    def test_an_unknown_input_is_refused(self):
        refused = subprocess.run([sys.executable, SCRIPT, "rank=8"], capture_output=True, text=True)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("rank: expected one of few, many,", refused.stderr)


unittest.main()
