#!/usr/bin/env python3
"""What a training step may cost a card, in the table BUDGETS. Only the numbers of layers are real: small widths, batches and texts leave the
operations of a step as they are. See card.py.

An operation is what a card starts as one kernel or copy. A foreach operation, fused Adam, an attention, a norm that is one operation and a custom
operation count one each; a cast, a fill and a copy count too. Counted in this way 512+8 took 1274 operations a step and 768+16 took 2090 when the
budgets began, near the 1270 and 2100 kernels that reading the code had given."""
import unittest

from card import CARD, Counts, deepen_encoder, environment
from train_programs import SAMPLE, Training, main, training

ENCODER_LAYERS = 12
EXPERTS = ["--use_moe", "True", "--n_routed_experts", 4, "--num_experts_per_tok", 2]
# Name: layers, flags, operations and waits of the host a step. A wait lets the card run dry. Numbers only go down.
BUDGETS = {
    "512+8": (8, [], 762, 0),
    "768+16": (16, [], 1260, 0),
    "512+8 with experts": (8, EXPERTS, 2605, 0),
}
STEPS, FROM, TO = 8, 3, 7  # of these steps the counts are taken; the first steps allocate and measure


class Budgets(Training):
    def step_of(self, layers, flags):
        """Operations and waits of one step by name, and the report of the run."""
        encoder = self.out / "clip"
        if not encoder.exists():
            deepen_encoder(SAMPLE / "clip", encoder, ENCODER_LAYERS)
        out, report = self.out / f"{layers}{len(flags)}", self.out / f"{layers}{len(flags)}.counts"
        command = training(out, "--clip_dir", encoder, "--dim", 64, "--n_layers", layers, "--n_heads", 8, "--n_kv_heads", 4, "--max_steps", STEPS,
                           "--log_interval", 1000, "--save_interval", 0, "--feature_memory_mb", 0, "--dtype", "bfloat16", *flags, *CARD)
        self.finish(self.start(command, **environment(report, FAKE_CUDA_MARK="aten::_fused_adam_")))
        counts = Counts(report)
        marks = sum(1 for kind in counts.names if kind.startswith("mark") and kind.endswith(".operation"))
        self.assertEqual(marks % STEPS, 0)
        first, last = (counts.mark(step * marks // STEPS - 1) for step in (FROM, TO))
        return [{name: (count - first[kind].get(name, 0)) / (TO - FROM) for name, count in last[kind].items()} for kind in ("operation", "wait")], counts

    def test_operations_and_waits_of_a_step_keep_their_budgets(self):
        for name, (layers, flags, operations, waits) in BUDGETS.items():
            with self.subTest(name):
                (started, waited), counts = self.step_of(layers, flags)
                listed = "\n".join(f"{count:8.2f} {what}" for what, count in sorted(started.items(), key=lambda item: -item[1]) if count)
                print(f"{name}: {sum(started.values()):.2f} operations, {sum(waited.values()):.2f} waits a step")
                self.assertLessEqual(sum(started.values()), operations, listed)
                self.assertLessEqual(sum(waited.values()), waits, {what: count for what, count in waited.items() if count})
                self.assertEqual(counts["sum_misplaced"], 0, counts.names["misplaced"])
                self.assertEqual(counts["sum_race"], 0, counts.names["race"])


if __name__ == "__main__":
    main()
