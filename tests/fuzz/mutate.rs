//! Random inputs that look like good ones: seeds, changed a little. The same seed makes the same inputs.

use std::collections::BTreeSet;

/// splitmix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `n`; 0 when that is nothing.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap()
    }

    pub(crate) fn of<'a, T: ?Sized>(&mut self, all: &'a [impl AsRef<T>]) -> &'a T {
        all[self.below(all.len())].as_ref()
    }

    /// A place in `0..=length` and a later one, mostly near.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length - start } else { (length - start).min(8) };
        (start, start + self.below(most + 1))
    }
}

/// What breaks readers: ends, controls, quotes, brackets, what YAML, JSON, HTTP and base64 give a meaning to.
const INTERESTING: &[&[u8]] = &[
    b"\0",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"  ",
    b"\"",
    b"'",
    b"\\",
    b"/",
    b",",
    b":",
    b";",
    b"=",
    b"{",
    b"}",
    b"[",
    b"]",
    b"*",
    b"&a ",
    b"*a",
    b"#",
    b"%",
    b"%00",
    b"-",
    b"- ",
    b"?",
    b"!!str ",
    b"|",
    b">",
    b"@",
    b"`",
    b"<<: ",
    b"---\n",
    b"...\n",
    b"~",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc3\xa4",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xc2\x85",
    b"\xf0\x9f\x98\x80",
];

const EXTREMES: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "0.1",
    "0.05",
    "1.0",
    "99",
    "100",
    "255",
    "256",
    "1000",
    "65535",
    "65536",
    "99999",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
    "1e308",
    "1e309",
    "-1e308",
    "1e-320",
    "5e-324",
    "nan",
    "inf",
    "-inf",
    ".nan",
    ".inf",
    "0x10",
    "0o17",
    "1_000",
    "007",
    "+5",
];

/// Longest input in bytes: what grows is cut.
const LONGEST: usize = 64 * 1024;
/// Most inputs that are kept beside the seeds.
const MOST_KEPT: usize = 2000;

pub(crate) struct Mutator {
    pool: Vec<Vec<u8>>,
    seeds: usize,
    words: Vec<Vec<u8>>,
    chance: Chance,
}

impl Mutator {
    /// The words of the seeds count as `words` too.
    pub(crate) fn new(seeds: &[Vec<u8>], words: &[&str], seed: u64) -> Self {
        assert!(!seeds.is_empty(), "nothing to begin with");
        let of_seeds = seeds.iter().flat_map(|seed| seed.split(|byte| !is_of_word(*byte)));
        let words: BTreeSet<_> = of_seeds.chain(words.iter().map(|word| word.as_bytes())).collect();
        let words = words.into_iter().filter(|word| (1..=64).contains(&word.len())).map(Vec::from).collect();
        Self { pool: seeds.to_vec(), seeds: seeds.len(), words, chance: Chance::new(seed) }
    }

    /// One of the seeds or of what was kept, changed in one to eight ways.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut input = self.pool[self.chance.below(self.pool.len())].clone();
        for _ in 0..1 << self.chance.below(4) {
            self.change(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    /// An input that had an effect of its own, to go on from.
    pub(crate) fn keep(&mut self, input: Vec<u8>) {
        if self.pool.len() < self.seeds + MOST_KEPT {
            self.pool.push(input);
        } else {
            let at = self.seeds + self.chance.below(MOST_KEPT);
            self.pool[at] = input;
        }
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        match self.chance.below(8) {
            0..3 => self.change_bytes(input),
            3..6 => self.change_words(input),
            _ => self.change_lines(input),
        }
    }

    fn change_bytes(&mut self, input: &mut Vec<u8>) {
        let chance = &mut self.chance;
        let (start, end) = chance.range(input.len());
        match chance.below(8) {
            0 if start < input.len() => input[start] ^= 1 << chance.below(8),
            1 if start < input.len() => input[start] = chance.next() as u8,
            2 => drop(input.drain(start..end)),
            3 => {
                let times = if chance.below(8) == 0 { 1 << chance.below(9) } else { 1 };
                let piece = input[start..end].repeat(times);
                insert(input, start, &piece[..piece.len().min(LONGEST)]);
            }
            4 => {
                let other = &self.pool[chance.below(self.pool.len())];
                let (from, to) = chance.range(other.len());
                insert(input, start, &other[from..to]);
            }
            5 => {
                let other = &self.pool[chance.below(self.pool.len())];
                input.truncate(start);
                input.extend_from_slice(&other[chance.below(other.len() + 1)..]);
            }
            6 if chance.below(4) == 0 => input.truncate(start),
            _ => {
                let what = chance.of::<[u8]>(INTERESTING);
                insert(input, start, what);
            }
        }
    }

    fn change_words(&mut self, input: &mut Vec<u8>) {
        let chance = &mut self.chance;
        let is_number = chance.below(3) == 0;
        let is_of = |byte: &u8| if is_number { byte.is_ascii_digit() } else { is_of_word(*byte) };
        let near = chance.below(input.len() + 1);
        // The next one, so that each is as likely as what stands before it is long.
        let start = near + input[near..].iter().position(is_of).unwrap_or(0);
        let end = start + input[start..].iter().position(|byte| !is_of(byte)).unwrap_or(input.len() - start);
        let word =
            if is_number { chance.of::<str>(EXTREMES).as_bytes() } else { chance.of::<[u8]>(&self.words) };
        match chance.below(5) {
            0 => insert(input, start, word),
            _ => drop(input.splice(start..end, word.iter().copied())),
        }
    }

    fn change_lines(&mut self, input: &mut Vec<u8>) {
        let chance = &mut self.chance;
        let mut lines: Vec<Vec<u8>> = input.split_inclusive(|byte| *byte == b'\n').map(Vec::from).collect();
        if lines.is_empty() {
            return;
        }
        let (at, other) = (chance.below(lines.len()), chance.below(lines.len()));
        match chance.below(6) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            3 => insert(&mut lines[at], 0, b"  "),
            4 => lines[at] = lines[at].trim_ascii_start().to_vec(),
            _ => {
                let seed = &self.pool[chance.below(self.pool.len())];
                let from: Vec<_> = seed.split_inclusive(|byte| *byte == b'\n').map(Vec::from).collect();
                let first = chance.below(from.len());
                let count = 1 + chance.below((from.len() - first).min(12));
                let taken = from.into_iter().skip(first).take(count);
                drop(lines.splice(at..at, taken));
            }
        }
        *input = lines.concat();
    }
}

fn insert(input: &mut Vec<u8>, at: usize, what: &[u8]) {
    drop(input.splice(at..at, what.iter().copied()));
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'%')
}
