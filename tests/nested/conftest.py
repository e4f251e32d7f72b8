# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import qemu


def pytest_collection_modifyitems(items):
    qemu.prepare(items)
