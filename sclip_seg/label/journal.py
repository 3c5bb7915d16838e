"""What is done, a line a picture and a file a process, so that whoever goes on does nothing twice."""

from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from ..evaluate.sharing import line_of, record_of
from ..files import write_atomically

PROGRESS = "progress"


class Journal:
    """The journals of all processes in `folder`, and this one's own, which is written to."""

    def __init__(self, folder: Path, key: str, rank: str) -> None:
        self.folder, self.key, self.rank = folder, key, rank
        self.path = folder / f"rank{rank}.jsonl"

    def read(self) -> dict[str, tuple[str, bool, Path, int]]:
        """By name, of the last line on each picture: its stamp, whether it was read, and where the line lies.

        Raises InputError where labels were made with other settings.
        """
        known = {}
        for path in sorted(self.folder.glob("rank*.jsonl")):
            with path.open("rb") as file:
                place = 0
                for line in file:
                    record = record_of(line.decode("utf-8", "replace").rstrip("\n"))
                    if record is not None and record.get("key") not in (None, self.key):
                        raise InputError(
                            f"{self.folder.parent} holds labels of other settings, weights, code or versions: "
                            "choose another --out, or delete it"
                        )
                    if record is not None and "name" in record:
                        is_read = "failed" not in record
                        if is_read or not known.get(record["name"], (None, False))[1]:
                            known[record["name"]] = (record["stamp"], is_read, path, place)
                    place += len(line)
        return known

    def open(self) -> None:
        """Makes this process's journal ready; a line that was cut off is ended."""
        if not self.path.exists():
            write_atomically(self.path, line_of({"key": self.key}))
        self.file = self.path.open("ab", buffering=0)
        if not self.path.read_bytes().endswith(b"\n"):
            self.file.write(b"\n")

    def add(self, name: str, stamp: str, **record: object) -> None:
        """A picture is done."""
        self.file.write(line_of({"name": name, "stamp": stamp, **record}))

    def close(self) -> None:
        """No more is added."""
        self.file.close()


class Kept:
    """The records of these lines, read one by one, as often as somebody goes through them."""

    def __init__(self, lines: list[tuple[Path, int]]) -> None:
        self.lines = lines

    def __iter__(self) -> Iterator[dict]:
        files = {path: path.open("rb") for path in {path for path, _ in self.lines}}
        try:
            for path, place in self.lines:
                files[path].seek(place)
                yield record_of(files[path].readline().decode().rstrip("\n"))["record"]
        finally:
            for file in files.values():
                file.close()
