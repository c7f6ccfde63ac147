"""Starts the Autobahn test suite (Python 2) from a folder that is not on the interpreter's path.

    python2.7 wstest.py SITE [wstest arguments]      runs wstest
    python2.7 wstest.py SITE --cases                 prints the id of every case the suite has
"""

import site
import sys

# addsitedir, not sys.path: it runs the .pth file that makes `zope` a namespace package.
site.addsitedir(sys.argv.pop(1))

if sys.argv[1:] == ["--cases"]:
    from autobahntestsuite.case import Cases
    from autobahntestsuite.caseset import CaseSet

    ids = CaseSet("", "Case", Cases, {}, {})
    print("\n".join(ids.caseClasstoId(case) for case in Cases))
else:
    from autobahntestsuite.wstest import run

    run()
