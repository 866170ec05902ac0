"""What all families share: their names, their corpus, and mutations without coverage.

A family is a module of `fuzz.families` with two functions. ``seeds()`` gives whole inputs by name, which our own
encoders made. ``check(data)`` gives one input to the decoders as a listener would, and raises if anything but the
promised error comes out, or if something that was accepted breaks a reader behind it.

The corpus of a family is ``fuzz/corpus/FAMILY.hex``: each seed on a line, below its name. It is written by
``python -m fuzz --write-corpus`` and kept, so that bytes of earlier formats are still tried.
"""

import random
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FAMILIES = tuple(sorted(path.stem for path in (Path(__file__).parent / "families").glob("[a-z]*.py")))
#: Numbers that lengths and counts like to trip over.
EDGES = (0, 1, 3, 4, 5, 0x7F, 0x80, 0xFE, 0xFF)
#: Texts that texts like to trip over: directions, escapes, halves of characters, numbers that are none.
WORDS = (
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", "\u202e".encode(), "\u2028".encode(), b"\x1b[2J", b"NaN", b"-1",
    b"1e999", b"9" * 5000, b"[" * 3000, b"\xff" * 200, b"\x7f", b"{}," * 50, b"%(a)s", b" " * 3000, b"\n", b":",
    b"=", b'"',
)  # fmt: skip

Check = Callable[[bytes], object]


def check_of(family: str) -> Check:
    """The function that gives an input to the family's decoders."""
    check: Check = import_module(f"fuzz.families.{family}").check
    return check


def seeds_of(family: str) -> dict[str, bytes]:
    """Whole inputs by name, from our encoders."""
    seeds: dict[str, bytes] = import_module(f"fuzz.families.{family}").seeds()
    return seeds


def corpus_of(family: str) -> dict[str, bytes]:
    """The inputs that are kept, by name."""
    lines = (CORPUS / f"{family}.hex").read_text().splitlines()
    return {
        name.removeprefix("# "): bytes.fromhex(line) for name, line in zip(lines[::2], lines[1::2], strict=True)
    }


def write_corpus(family: str) -> None:
    """Keep the seeds of today beside those that are kept under other names."""
    path = CORPUS / f"{family}.hex"
    kept = corpus_of(family) if path.exists() else {}
    lines = [f"# {name}\n{data.hex()}\n" for name, data in sorted((kept | seeds_of(family)).items())]
    path.write_text("".join(lines))


def mutated(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """The input with some bytes changed, cut out, doubled, cut off, or replaced by a piece of another one."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(7):
            case 0 if at < len(changed):
                changed[at] = rng.choice(EDGES)
            case 1 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                del changed[at : at + rng.randint(1, 16)]
            case 3:
                changed[at:at] = changed[at : at + rng.randint(1, 64)]
            case 4:
                changed[at:at] = rng.choice(WORDS)
            case 5:
                other = rng.choice(others)
                begin = rng.randrange(len(other) + 1)
                changed[at : at + 64] = other[begin : begin + 64]
            case _:
                del changed[at + rng.randrange(64) :]
    return bytes(changed)


def mutations(family: str, count: int, seed: int) -> Iterator[bytes]:
    """So many inputs, always the same for a seed: first the corpus, then what mutations make of it."""
    rng, kept = random.Random(f"{family} {seed}"), list(corpus_of(family).values())
    yield from kept
    for _ in range(count):
        yield mutated(rng.choice(kept), rng, kept)
