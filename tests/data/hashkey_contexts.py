#!/usr/bin/env python3
"""Request contexts and the keys that Python gives them, for tests/unit/test_hashkey.c.

    hashkey_contexts.py COUNT [SEED]

Prints the special cases, COUNT generated contexts and COUNT / 2 damaged ones, one a
line: the text, a tab, then the key in hex, or "error" where Python refuses the text.
A line cannot hold a tab or a newline of the text: \\v and \\f, which JSON never
allows, stand for these. The texts are bytes; not all of them are UTF-8.
"""
import hashlib
import json
import random
import struct
import sys
from fractions import Fraction

SPECIALS = [
    "", " ", "{}", "[]", " { } ", "[ ]", '""', "null", "true", "false", "[null,true,false]", "[{},[],\"\"]",
    "nul", "True", "[1,]", '{"a":1,}', "{a:1}", "{'a':1}", '{"a" 1}', '{"a"}', "[1 2]", "[1", "]", "[}", "1 2", '"a',
    "NaN", "Infinity", "-Infinity", "[NaN,-Infinity,Infinity]", "-NaN", "nan", "inf", "+Infinity", "Infinit",
    "- Infinity", "0", "-0", "-0.0", "-0e0", "0e1", "0E-9", "-", "--1", "+1", "01", "-01", "1.", ".5", "1.e5", "1e", "1e+", "0x10",
    "1_000", "1e5", "1E+05", "1e-7", "1.0", "100", "1.50", "1e15", "1e16", "1e17", "123456789012345678", "1234567890123456.0",
    "9999999999999999.0", "9007199254740993.0", "0.0001", "0.00001", "0.00012345", "1e22", "1e23", "1e21",
    "5e-324", "2e-324", "2.4703282292062328e-324", "2.2250738585072014e-308", "2.2250738585072011e-308",
    "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "1e308", "1e309", "1e400", "-1e400",
    "1e99999999999999999999", "-1e-99999999999999999999", "0e99999999999999999999", "0.1", "0.3", "0.30000000000000004",
    "1" * 4300, "-" + "1" * 4300, "1" * 4301, "-" + "1" * 4301, "1" * 5000 + ".0", "0." + "0" * 400 + "1",
    "1" * 400 + "e-400",
    '{"a":' + "9" * 4301 + ',"a":1}',
    r'"\"\\\/\b\f\n\r\t"', r'"\u0000\u001f\u007f\u0080\uFFFF"', '"\x7f\x80\u2028\ufffe\U0010ffff"', '"\x01"',
    '"a\tb"', '"a\nb"', r'"\ud83d\ude00"', r'"\uD83D\uDE00"', r'"\ud83d"', r'"\ude00"', r'"\ude00\ud83d"',
    r'"\ud83d\ud83d\ude00"', r'"\ud83dx"', r'"\ud83d\n"', r'"\ud83d\u0041"', r'"\ud83d\u00"', r'"\ud83d\u"', r'"\udbff\udfff"',
    r'"\ud800\udc00"', r'"\x41"', r'"\u12"', r'"\u00g0"', r'"\u+123"', r'"\u 123"', r'"\U0041"', '"\\', '"\\"', r'"\u123',
    '{"b":1,"a":2}', '{"a":1,"a":2}', r'{"a":1,"b":0,"\u0061":{"x":[]}}', '{"":1," ":2}', '{"a":1,"aa":2,"b":3,"A":4}',
    r'{"\uffff":1,"\ud83d\ude00":2,"\ud83d":3,"\udfff":4,"\ue000":5,"é":6,"z":7}', r'{"a\u0000b":1,"a":2,"a\u0000":3}',
    "\ufeff{}", "{}\x00", "\x00", "\u00a01", "[" * 512 + "]" * 512, '{"k":' * 511 + "[]" + "}" * 511,
]
NOT_UTF8 = [
    b'"\xff"', b'"\xc0\xaf"', b'"\xe0\x80\xaf"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'"\x80"',
    b'\xef\xbb\xbf1',
    b'"\xf0\x8f\xbf\xbf"', b'"\xf5\x80\x80\x80"', b'{"\xc3":1}', b'1\xc3\xa9',
]
ALPHABET = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-./:+,=~\"\\/\b\f\n\r\t\x00\x1f\x7f"
    "éüßñ\x80\xa0ÿĀ€\u2028\u2029\ud7ff\ue000\ufeff\uffff漢字模型\U00010000😀🚀\U0010ffff\ud800\udbff\udc00\udfff\ud83d\ude00"
)
SHORT = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
NAMES = [
    "model", "provider", "max_tokens", "temperature", "tools", "stream", "tenant", "a", "A", "aa", "", "é", "\ud83d", "😀", "\uffff",
]


def from_bits(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def all_powers_of_two():
    """Each with its neighbours: around these the shortest digits are hard to find."""
    for exponent in range(-1074, 1024):
        bits = struct.unpack("<Q", struct.pack("<d", 2.0**exponent))[0]
        yield [from_bits(bits - 1), from_bits(bits), -from_bits(bits), from_bits(bits + 1)]


class Writer:
    """JSON texts that say the same in many ways."""

    def __init__(self, rng):
        self.rng = rng

    def blanks(self):
        return self.rng.choice(["", "", "", "", " ", "  ", "\t", "\n", "\r\n", " \n\t\r "])

    def unit(self, code):
        text = "%04x" % code
        return "\\u" + "".join(self.rng.choice([c, c.upper()]) for c in text)

    def char(self, c):
        code = ord(c)
        must_escape = c in '"\\' or code < 0x20 or 0xD800 <= code < 0xE000
        if not must_escape and self.rng.random() < 0.8:
            return c
        if c in SHORT and self.rng.random() < 0.7:
            return SHORT[c]
        if code < 0x10000:
            return self.unit(code)
        return self.unit(0xD800 + (code - 0x10000 >> 10)) + self.unit(0xDC00 + (code & 0x3FF))

    def string(self, s=None):
        if s is None:
            s = "".join(self.rng.choices(ALPHABET, k=self.rng.choice([0, 1, 2, 5, 8, 20])))
        return '"' + "".join(map(self.char, s)) + '"'

    def integer(self):
        size = self.rng.choice([4, 8, 16, 32, 63, 64, 65, 200, 2000])
        n = self.rng.getrandbits(size)
        return str(self.rng.choice([n, -n, 10 ** (size // 4), 0]))

    def midpoint(self):
        """All digits of a number halfway between two floats (ties go to even), or next to it."""
        bits = self.rng.randrange(0x3000000000000000, 0x4800000000000000)
        low, high = from_bits(bits), from_bits(bits + 1)
        middle = (Fraction(low) + Fraction(high)) / 2
        digits = middle.denominator.bit_length() - 1                        # a power of two: it ends after so many
        whole = str(middle.numerator * 5**digits).rjust(digits + 1, "0")
        text = whole[: len(whole) - digits] + "." + (whole[len(whole) - digits :] or "0")
        return text + self.rng.choice(["", "1", "0000000001"])

    def any_float(self):
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            return from_bits(rng.getrandbits(64))
        if kind == 1:
            return from_bits(rng.getrandbits(rng.randint(1, 52)))           # subnormal
        if kind == 2:
            return 2.0 ** rng.randint(-1074, 1023) * rng.choice([1, -1, 3])
        if kind == 3:
            return float("%de%d" % (rng.randint(1, 999), rng.randint(-25, 25)))
        if kind == 4:
            return float(rng.getrandbits(rng.randint(1, 70)))
        if kind == 5:
            return round(rng.random(), rng.randint(0, 17))
        if kind == 6:
            return rng.uniform(-1e17, 1e17)
        return rng.choice([0.0, -0.0, 0.7, 1.0, 0.1 + 0.2, 1e16, 9999999999999998.0, 0.0001, 0.00001, 1e308 * 10])

    def number(self):
        rng = self.rng
        if rng.random() < 0.3:
            return self.integer()
        if rng.random() < 0.1:
            return self.midpoint()
        x = self.any_float()
        if x != x or x in (float("inf"), float("-inf")):
            return json.dumps(x)
        text = rng.choice([repr, "%.17e".__mod__, "%.15e".__mod__, "%.3f".__mod__, "%.30e".__mod__, "%.1e".__mod__])(x)
        return text.replace("e", rng.choice(["e", "E"])).replace("+", rng.choice(["+", ""]))

    def members(self, depth):
        names = [self.rng.choice(NAMES) if self.rng.random() < 0.7 else None for _ in range(self.rng.randrange(8))]
        return ",".join(
            self.blanks() + self.string(name) + self.blanks() + ":" + self.value(depth + 1) for name in names
        ) or self.blanks()

    def elements(self, depth):
        return ",".join(self.value(depth + 1) for _ in range(self.rng.randrange(6))) or self.blanks()

    def value(self, depth=0):
        kind = self.rng.randrange(10) if depth < 6 else self.rng.randrange(3, 10)
        if kind < 2 or (depth == 0 and kind < 8):
            text = "{" + self.members(depth) + "}"
        elif kind == 2:
            text = "[" + self.elements(depth) + "]"
        elif kind < 6:
            text = self.string()
        elif kind < 9:
            text = self.number()
        else:
            text = self.rng.choice(["true", "false", "null", "NaN", "Infinity", "-Infinity"])
        return self.blanks() + text + self.blanks()


def damage(rng, text):
    """One or two bytes dropped, put in, replaced or doubled: mostly no longer JSON, but Python decides."""
    data = bytearray(text)
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(data) + 1)
        byte = rng.choice(b'"\\{}[]:,0123456789-+.eE aunN/\x00\x1f\x7f\x80\xbf\xc2\xe2\xed\xf0\xff')
        action = rng.randrange(4)
        if action == 0:
            data[at : at + 1] = b""
        elif action == 1:
            data[at:at] = bytes([byte])
        elif action == 2:
            data[at : at + 1] = bytes([byte])
        else:
            data[at:at] = data[at : at + rng.randint(1, 6)]
    return bytes(data)


def key(text):
    try:
        canonical = json.dumps(json.loads(text.decode("utf-8")), sort_keys=True)
    except ValueError:
        return "error"
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def contexts(count, seed):
    rng = random.Random(seed)
    writer = Writer(rng)
    for text in SPECIALS:
        yield text.encode()
    yield from NOT_UTF8
    for floats in all_powers_of_two():
        yield json.dumps(floats).encode()
        yield ("[" + ",".join("%.25e" % x for x in floats) + "]").encode()
    for _ in range(count):
        yield writer.value().encode()
    for _ in range(count // 2):
        yield damage(rng, writer.value().encode())


def main():
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for text in contexts(count, seed):
        line = text.replace(b"\t", b"\v").replace(b"\n", b"\f")
        sys.stdout.buffer.write(line + b"\t" + key(text).encode() + b"\n")


if __name__ == "__main__":
    main()
