"""`sclip-seg toy-words`, of one method, one list and two scenes."""

import json
from pathlib import Path

from sclip_seg.toy import words, words_command
from sclip_seg.toy.make import make


def test_both_tables_are_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(words, "METHODS", ("sclip",))
    monkeypatch.setattr(words, "LISTS", ("benchmarks",))
    monkeypatch.setattr(words, "WEIGHTS", {"words alone": None, "words and memory": 0.5})
    monkeypatch.setattr(words, "make", lambda place, count, seed: make(place, 2, seed))
    assert words_command.main([]) == 0
    result = json.loads(Path("work_dirs/toy_words/summary.json").read_text())
    (found,) = result["found"]
    assert found["found"] >= found["wrong"]
    assert 0 < found["named"] <= found["present"]
    alone, blended = result["remembered"]
    assert alone["strange"] in (0.0, None)
    assert blended["shown"] > alone["shown"]
    assert "|memory:" not in alone["signature"]
    assert ",3shots|" in blended["signature"]
    assert "kite as 'zeppelin'" in capsys.readouterr().out
