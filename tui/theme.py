"""The two looks, dark and light, with a colour for each thing that a pane can mean.

Blue is in use, green is backed and ready, grey is not there, amber is new or here, red is wrong. Every
meaning also has a glyph of its own, so that nothing is said by colour alone.
"""

from __future__ import annotations

from textual.theme import Theme

DARK_NAME = "kmemscope-dark"
LIGHT_NAME = "kmemscope-light"

DARK = Theme(
    name=DARK_NAME,
    primary="#6ca8e0",
    secondary="#8fb8a8",
    accent="#e6b450",
    warning="#e6b450",
    error="#e06c75",
    success="#7fb77e",
    foreground="#c5cbd6",
    background="#14171c",
    surface="#181c22",
    panel="#20252d",
    dark=True,
    variables={
        "km-dim": "#79828f",
        "km-faint": "#4a525e",
        "km-line": "#343b46",
        "km-area": "#5a9bd8",
        "km-area-odd": "#3672ab",
        "km-partly": "#5a9bd8",
        "km-free": "#6fae83",
        "km-empty": "#4f8a66",
        "km-none": "#4a525e",
        "km-reserved": "#a98bd0",
        "km-static": "#7d8694",
        "km-module": "#b48ae0",
        "km-module-odd": "#7d5ba6",
        "km-table": "#56b6c2",
        "km-metadata": "#c27ba0",
        "km-hidden": "#8a7460",
        "km-unknown": "#e6b450",
        "km-unbacked": "#e06c75",
        "km-changed": "#f5c451",
        "km-changed-bg": "#4a3a12",
        "km-object": "#d8ecff",
        "km-cursor": "#f5c451",
        "km-cursor-ink": "#14171c",
        "km-row": "#26303c",
        "km-present": "#2b2a1c",
        "footer-key-foreground": "#e6b450",
    },
)
LIGHT = Theme(
    name=LIGHT_NAME,
    primary="#1f66a8",
    secondary="#3d7464",
    accent="#a8610a",
    warning="#a8610a",
    error="#b3261e",
    success="#2f7d3b",
    foreground="#2b3038",
    background="#f7f6f2",
    surface="#fbfaf7",
    panel="#eceae3",
    dark=False,
    variables={
        "km-dim": "#6a7280",
        "km-faint": "#b3b5b2",
        "km-line": "#d3d0c6",
        "km-area": "#2f74b5",
        "km-area-odd": "#7fb0dc",
        "km-partly": "#2f74b5",
        "km-free": "#3c8a52",
        "km-empty": "#6fb083",
        "km-none": "#b3b5b2",
        "km-reserved": "#8a63b8",
        "km-static": "#8a8f98",
        "km-module": "#7a4fb0",
        "km-module-odd": "#b698d6",
        "km-table": "#127a86",
        "km-metadata": "#a0447a",
        "km-hidden": "#9a7f60",
        "km-unknown": "#a8610a",
        "km-unbacked": "#b3261e",
        "km-changed": "#c25700",
        "km-changed-bg": "#ffe3b3",
        "km-object": "#0b2d4f",
        "km-cursor": "#c25700",
        "km-cursor-ink": "#ffffff",
        "km-row": "#e3e8ee",
        "km-present": "#fbf0d4",
        "footer-key-foreground": "#a8610a",
    },
)
