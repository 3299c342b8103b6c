//! Chance with a seed, and texts that are hard to write in YAML.

/// Splitmix64.
pub(crate) struct Chance(u64);

/// Words that a reader of YAML may take for something else, and that are names of resources.
pub(crate) const NAMES: &[&str] =
    &["no", "null", "yes", "true", "false", "on", "off", "y", "n", "nan", "inf", "e1", "a-b", "x0", "web2"];

/// Texts with a meaning in YAML.
const TEXTS: &[&str] = &[
    "",
    "no",
    "null",
    "~",
    "True",
    "0x10",
    "0o17",
    "1e3",
    "-1",
    ".5",
    ".inf",
    ".nan",
    "12:30:45",
    "2026-01-01",
    "a: b",
    "a:",
    ": a",
    "a #b",
    "# a",
    "#",
    "- a",
    "-",
    "? a",
    "---",
    "...",
    "--- a",
    "[a",
    "{a",
    "a]",
    "}",
    ",",
    "a, b",
    "&a",
    "*a",
    "!a",
    "!!str a",
    "%a",
    "@a",
    "`a`",
    "|",
    ">",
    "|-\n a",
    "'",
    "''",
    "\"",
    "it's \"quoted\"",
    "\\",
    "\\n",
    "C:\\temp\\",
    " a",
    "a ",
    "  ",
    "a\nb",
    "a\n\nb\n",
    "\na",
    "a\n",
    "a\n\n",
    "a\n  b\n c",
    "a\n- b\n# c",
    "a: b\nc: d\n",
    "a\tb",
    "\ta",
    "a\t",
    "a\r\nb",
    "a\rb",
    "\u{7}\u{1b}[0m",
    "grün, größer",
    "日本語: 説明 # 注",
    "🦀",
    "a\u{85}b",
    "a\u{2028}b",
    "\u{feff}a",
    "a\u{a0}b",
    "\u{7f}",
    "<<",
    "=",
    "a\u{301}",
    "null # no",
    "{{ x }}",
    "\"a\": 1",
];

const PIECES: &[&str] = &[
    "a", "B", "1", " ", "  ", ": ", " #", "- ", "\n", "\n\n", "'", "\"", "\\", "{", "}", "[", "]", ",", "&",
    "*", "é", "\t",
];

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `count`, which is not 0.
    pub(crate) const fn below(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    pub(crate) const fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    pub(crate) const fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A description.
    pub(crate) fn text(&mut self) -> String {
        match self.below(10) {
            0..=5 => self.pick(TEXTS).to_owned(),
            6 => self.pick(TEXTS).repeat(self.between(2, 40)),
            7 => (0..self.between(1, 12)).map(|_| self.pick(TEXTS)).collect(),
            _ => (0..self.between(1, 30)).map(|_| self.pick(PIECES)).collect(),
        }
    }
}
