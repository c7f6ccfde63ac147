"""How a page becomes a tour, with nothing but a shell to visit."""

import contextlib
import io
import pathlib
import tempfile
import unittest

from tour import steps, take

PAGE = """
Start it, and leave it running:

```sh terminal=1
echo ready on 9482; cat
```

```text terminal=1
ready on 9482
```

Then, elsewhere:

```sh terminal=2
printf 'noise\\nanswer 42 of 50\\n'
```

```text terminal=2
answer … of 50
```

```sh terminal=1
typed into the running program
```

```text terminal=1
typed into the running program
```

```sh
echo not a step
```
"""


class Tour(unittest.TestCase):
    def take(self, page: str, wait_s: float = 60) -> tuple[int, str, str]:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "page.md")
            path.write_text(page)
            with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(io.StringIO()) as complaints:
                status = take(path, pathlib.Path(folder), wait_s)
        return status, printed.getvalue(), complaints.getvalue()

    def test_only_blocks_that_name_a_terminal_are_steps(self):
        found = [(step.kind, step.terminal) for step in steps(PAGE)]
        self.assertEqual(found, [("sh", "1"), ("text", "1"), ("sh", "2"), ("text", "2"), ("sh", "1"), ("text", "1")])

    def test_a_promise_kept_passes(self):
        self.assertEqual(self.take(PAGE), (0, "tour: 3 passed, 0 failed\n", ""))

    def test_a_promise_broken_names_page_line_and_what_came_instead(self):
        status, printed, complaints = self.take(PAGE.replace("answer … of", "reply … of"), wait_s=5)
        self.assertEqual((status, printed), (1, "tour: 1 passed, 1 failed\n"))
        self.assertIn("page.md:18", complaints)
        self.assertIn("answer 42 of 50", complaints)

    def test_a_page_without_promises_proves_nothing(self):
        self.assertEqual(self.take("# Nothing here\n")[0], 1)


if __name__ == "__main__":
    unittest.main()
