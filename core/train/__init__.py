# SPDX-License-Identifier: GPL-3.0-or-later
"""How the bundled network is made: data, training, measurements. Left out of the built extension."""
