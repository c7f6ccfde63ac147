"""How records of the suite are judged, and which cases are chosen."""

import unittest

import cases
from verdict import judge, table


def entry(behavior: str, close: str = "OK") -> dict:
    return {"behavior": behavior, "behaviorClose": close}


class Judging(unittest.TestCase):
    def test_ok_and_informational_pass(self):
        result = judge(["1.1.1", "7.1.6"], {"1.1.1": entry("OK"), "7.1.6": entry("INFORMATIONAL")}, {})
        self.assertEqual((result.total, result.failures, result.findings), (2, 0, []))

    def test_a_wrong_close_fails_whatever_came_before(self):
        for close in ("FAILED", "WRONG CODE", "UNCLEAN"):
            result = judge(["7.1.5"], {"7.1.5": entry("OK", close)}, {})
            self.assertEqual(result.failures, 1, close)
            self.assertEqual(result.findings[0].verdict, "FAILED", close)

    def test_non_strict_and_unimplemented_need_a_reason(self):
        index = {"3.2": entry("NON-STRICT"), "12.1.1": entry("UNIMPLEMENTED"), "12.1.2": entry("UNIMPLEMENTED")}
        self.assertEqual(judge(list(index), index, {}).failures, 3)
        reasons = {"12.*": {"verdict": "UNIMPLEMENTED", "reason": "declined"}}
        result = judge(list(index), index, reasons)
        self.assertEqual(result.failures, 1)
        self.assertEqual([f.case for f in result.findings if f.excused], ["12.1.1", "12.1.2"])

    def test_a_reason_covers_only_the_verdict_it_names(self):
        reasons = {"3.2": {"verdict": "NON-STRICT", "reason": "why"}}
        self.assertEqual(judge(["3.2"], {"3.2": entry("FAILED")}, reasons).failures, 1)

    def test_unknown_behaviour_and_absent_cases_fail(self):
        result = judge(["1.1.1", "1.1.2"], {"1.1.1": entry("MARVELLOUS")}, {})
        self.assertEqual(result.missing, ["1.1.2"])
        self.assertEqual(result.failed_cases, ["1.1.1", "1.1.2"])
        self.assertEqual(result.failures, 2)

    def test_table_sums_up(self):
        index = {"1.1.1": entry("OK"), "10.1.1": entry("FAILED")}
        rows = [line.split() for line in table("server", judge(list(index), index, {})).splitlines()]
        self.assertEqual([row[0] for row in rows], ["server", "1.*", "10.*", "all"])
        self.assertEqual(rows[-1], ["all", "2", "1", "0", "0", "0", "1"])


class Choosing(unittest.TestCase):
    KNOWN = ["1.1.1", "9.1.1", "9.1.2", "10.1.1", "12.1.1", "13.1.1"]

    def test_parts_hold_every_wanted_case_once(self):
        chosen = cases.parts(self.KNOWN, ["*"])
        self.assertEqual(sorted(case for ids in chosen.values() for case in ids), sorted(self.KNOWN))
        self.assertEqual(chosen["framing"], ["1.1.1", "10.1.1"])

    def test_a_pattern_without_cases_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "9.9.9"):
            cases.parts(self.KNOWN, ["9.9.9"])

    def test_a_case_outside_all_parts_is_an_error(self):
        with self.assertRaisesRegex(ValueError, "14.1.1"):
            cases.parts([*self.KNOWN, "14.1.1"], ["*"])


if __name__ == "__main__":
    unittest.main()
