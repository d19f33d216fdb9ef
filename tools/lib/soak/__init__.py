# SPDX-License-Identifier: Apache-2.0
"""tools/soak real: real programs under faults, and what may come of it."""
