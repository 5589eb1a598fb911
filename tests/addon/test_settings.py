# SPDX-License-Identifier: GPL-3.0-or-later
"""What else a strip has: custom properties and proxies, on the slowed strip and on the original that comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.addon.helpers import add_movie, times
from tests.addon.test_restore import add_sound, restore, slow

NOTES = {"take": 3, "share": 0.5, "good": True, "by": "the director", "marks": [1, 2, 3], "place": {"x": {"y": [0.5]}}}


def notes(strip: Any) -> dict[str, Any]:
    """The strip's custom properties but Lento's own."""
    plain = {}
    for name, value in strip.items():
        if not name.startswith("lento"):
            convert = getattr(value, "to_dict", None) or getattr(value, "to_list", None)
            plain[name] = convert() if convert else value
    return plain


def test_custom_properties_go_along_and_come_back(scene: Any, clips: Path) -> None:
    sound = add_sound(scene, clips / "clip.mp4")
    sound["take"] = {"name": "B"}
    strip = add_movie(scene, clips / "clip.mp4")
    for name, value in NOTES.items():
        strip[name] = value
    strip["scene"] = scene
    strip.id_properties_ui("share").update(min=0.0, max=2.0, description="How much of it")
    strip["lento_kept"] = strip["lento_sound_of"] = "another's"
    name = slow(range=(11, 21), factor=4)
    made = scene.sequence_editor.strips[name]
    assert notes(made) == {**NOTES, "scene": scene}
    assert {"lento_kept", "lento_sound_of", "lento_id", "lento_group"}.isdisjoint(made.keys())
    told = made.id_properties_ui("share").as_dict()
    assert (told["min"], told["max"], told["description"]) == (0.0, 2.0, "How much of it")
    made["take"] = 4
    restore(name)
    back = scene.sequence_editor.active_strip
    assert notes(back) == {**NOTES, "scene": scene, "take": 4}
    assert {"lento", "lento_id", "lento_group"}.isdisjoint(back.keys())
    sounds = [strip for strip in scene.sequence_editor.strips if strip.type == "SOUND"]
    assert [notes(sound) for sound in sounds] == [{"take": {"name": "B"}}] * 3


@pytest.mark.parametrize("used", [False, True])
def test_proxies_are_used_again(scene: Any, clips: Path, used: bool) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.use_proxy = True
    strip.proxy.build_25, strip.proxy.build_50, strip.proxy.quality = False, True, 77
    strip.proxy.use_proxy_custom_directory, strip.proxy.directory = True, "//proxies ü"
    strip.use_proxy = used
    name = slow(range=(11, 21), factor=4)
    assert not scene.sequence_editor.strips[name].use_proxy
    restore(name)
    back = scene.sequence_editor.active_strip
    assert (times(back), back.use_proxy) == ((11, 21), used)
    if used:
        told = (back.proxy.build_25, back.proxy.build_50, back.proxy.quality, back.proxy.directory)
        assert told == (False, True, 77, "//proxies ü")
        assert back.proxy.use_proxy_custom_directory
