//! Huffman's code for texts [RFC 7541 B], unpacked up to two bytes at a step and four steps at a time.
//!
//! The code is canonical: shorter codes are smaller, and those of one length count up as the bytes that they stand for.
//! So it is told by the lengths alone, and all tables here are made of them when this is compiled.

/// Symbols: the bytes, and the end of a text, which may not be sent.
const SYMBOLS: usize = 257;
const SHORTEST: usize = 5;
const LONGEST: usize = 30;
/// Bits that are looked up at once: two of the common letters. With 16 KiB it stays in the fastest cache.
const WINDOW: usize = 12;

/// Bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// Steps whose bytes fill a word.
const STRIDE: u32 = 4;

/// What begins with the bits of a window. All of it is 0 where the first code is longer.
#[derive(Clone, Copy)]
struct Step {
    /// One byte or two, the first as the lower.
    bytes: u16,
    /// Eight for each byte.
    width: u8,
    /// Of all codes.
    bits: u8,
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Rank {
    first: u32,
    /// Where the first stands in [`SORTED`].
    at: u32,
    /// Behind the last, with as many bits as the longest code has.
    end: u32,
}

static STEPS: [Step; 1 << WINDOW] = steps();
/// By length.
static RANKS: [Rank; LONGEST + 1] = ranks();
/// The bytes in the order of their codes; behind all of them would be the end of a text.
static SORTED: [u8; SYMBOLS - 1] = sorted();

/// Bytes that are enough to unpack a text to.
pub(super) const fn room(packed: &[u8]) -> usize {
    // Bytes are written as words, whose end may mean nothing.
    packed.len() * 8 / SHORTEST + 8
}

/// Unpacks a text to the front of `out`, which has [`room`] for it.
///
/// `None`: it has a code that stands for no byte, or ends in anything but up to seven bits, all of them ones.
pub(super) fn unpack<'a>(packed: &[u8], out: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut next = Bits { bits: 0, count: 0, input: packed };
    let mut at = 0;
    loop {
        next.fill();
        let (mut word, mut width) = (0_u64, 0);
        for _ in 0..(next.count / WINDOW as u32).min(STRIDE) {
            let step = STEPS[(next.bits >> (64 - WINDOW)) as usize];
            word |= u64::from(step.bytes) << width;
            width += u32::from(step.width);
            next.skip(step.bits.into());
        }
        if width > 0 {
            out.get_mut(at..at + 8)?.copy_from_slice(&word.to_le_bytes());
            at += width as usize / 8;
            continue;
        }
        // As if padding never ended: a code that goes on behind the last bit is found to be longer than what is left.
        let padded = next.bits | u64::MAX >> next.count;
        if next.count < 8 && padded == u64::MAX {
            return out.get(..at);
        }
        let (byte, length) = one((padded >> 32) as u32)?;
        if length > next.count {
            return None;
        }
        next.skip(length);
        *out.get_mut(at)? = byte;
        at += 1;
    }
}

/// What of a text is still to be unpacked.
struct Bits<'a> {
    /// From the highest bit down. Behind those that count there may be more of the input, or zeros.
    bits: u64,
    /// Below 64.
    count: u32,
    input: &'a [u8],
}

impl Bits<'_> {
    /// Takes whole bytes until no more fit; then at least 56 bits are there, unless the input is over.
    #[inline]
    fn fill(&mut self) {
        if let Some((eight, _)) = self.input.split_first_chunk() {
            let bytes = (63 - self.count) / 8;
            self.bits |= u64::from_be_bytes(*eight) >> self.count;
            self.count += 8 * bytes;
            self.input = self.input.get(bytes as usize..).unwrap_or_default();
            return;
        }
        while self.count < 56
            && let Some((byte, rest)) = self.input.split_first()
        {
            self.bits |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.input = rest;
        }
    }

    /// No more than there are.
    #[inline]
    const fn skip(&mut self, count: u32) {
        self.bits <<= count;
        self.count -= count;
    }
}

/// The byte whose code comes first, and the length of that. `None`: it is the end of a text.
fn one(window: u32) -> Option<(u8, u32)> {
    let longest = window >> (32 - LONGEST);
    for (length, rank) in (SHORTEST..).zip(RANKS.get(SHORTEST..)?) {
        if longest < rank.end {
            let code = window >> (32 - length);
            let byte = SORTED.get((rank.at + code - rank.first) as usize)?;
            return Some((*byte, length as u32));
        }
    }
    None
}

const fn ranks() -> [Rank; LONGEST + 1] {
    let mut ranks = [Rank { first: 0, at: 0, end: 0 }; LONGEST + 1];
    let (mut code, mut at, mut length) = (0, 0, SHORTEST);
    while length <= LONGEST {
        ranks[length].first = code;
        ranks[length].at = at;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                code += 1;
                at += 1;
            }
            symbol += 1;
        }
        ranks[length].end = code << (LONGEST - length);
        code <<= 1;
        length += 1;
    }
    ranks
}

const fn sorted() -> [u8; SYMBOLS - 1] {
    let mut sorted = [0; SYMBOLS - 1];
    let (mut at, mut length) = (0, SHORTEST);
    while length <= LONGEST {
        let mut byte = 0;
        while byte < SYMBOLS - 1 {
            if LENGTHS[byte] as usize == length {
                sorted[at] = byte as u8;
                at += 1;
            }
            byte += 1;
        }
        length += 1;
    }
    sorted
}

const fn steps() -> [Step; 1 << WINDOW] {
    let singles = single_steps();
    let (mut steps, mut window) = (singles, 0);
    while window < steps.len() {
        let first = singles[window];
        let second = singles[(window << first.bits) % singles.len()];
        let bits = first.bits + second.bits;
        if first.bits > 0 && second.bits > 0 && bits as usize <= WINDOW {
            steps[window] = Step { bytes: first.bytes | second.bytes << 8, width: 16, bits };
        }
        window += 1;
    }
    steps
}

/// One byte for each window.
const fn single_steps() -> [Step; 1 << WINDOW] {
    let (sorted, mut steps) = (sorted(), [Step { bytes: 0, width: 0, bits: 0 }; 1 << WINDOW]);
    let (mut at, mut window) = (0, 0);
    while LENGTHS[sorted[at] as usize] as usize <= WINDOW {
        let bits = LENGTHS[sorted[at] as usize];
        let end = window + (1 << (WINDOW - bits as usize));
        while window < end {
            steps[window] = Step { bytes: sorted[at] as u16, width: 8, bits };
            window += 1;
        }
        at += 1;
    }
    steps
}

/// Packs a text, as clients do.
#[cfg(test)]
pub(super) fn pack(text: &[u8]) -> Vec<u8> {
    let (mut packed, mut bits, mut count) = (Vec::new(), 0_u64, 0);
    for byte in text {
        let (code, length) = tests::code(usize::from(*byte));
        bits = bits << length | u64::from(code);
        count += length;
        while count >= 8 {
            count -= 8;
            packed.push((bits >> count) as u8);
        }
    }
    if count > 0 {
        packed.push((bits << (8 - count)) as u8 | 0xff >> count);
    }
    packed
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The code of a symbol, and its length.
    pub(super) fn code(symbol: usize) -> (u32, u32) {
        let length = LENGTHS[symbol];
        let before = LENGTHS[..symbol].iter().filter(|other| **other == length).count();
        (RANKS[usize::from(length)].first + before as u32, length.into())
    }

    fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
        // What stands in the buffer, and how long it is beyond need, means nothing.
        let mut small = vec![0; room(packed)];
        let mut large = vec![0xaa; room(packed) + 100];
        let text = unpack(packed, &mut small).map(<[u8]>::to_vec);
        assert_eq!(unpack(packed, &mut large).map(<[u8]>::to_vec), text);
        text
    }

    /// Codes, and bits behind them, as whole bytes.
    fn bits(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        assert_eq!(digits.len() % 8, 0);
        digits.chunks(8).map(|byte| byte.iter().fold(0, |all, bit| all << 1 | (bit - b'0'))).collect()
    }

    #[test]
    fn the_code_is_complete() {
        let sum: u64 = LENGTHS.iter().map(|length| 1 << (LONGEST - usize::from(*length))).sum();
        assert_eq!(sum, 1 << LONGEST);
        assert_eq!(RANKS[LONGEST].end, 1 << LONGEST);
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        let known = [
            (0, 0x1ff8),
            (1, 0x7f_ffd8),
            (2, 0xfff_ffe2),
            (9, 0xff_ffea),
            (10, 0x3fff_fffc),
            (13, 0x3fff_fffd),
            (22, 0x3fff_fffe),
            (32, 0x14),
            (35, 0xffa),
            (48, 0),
            (60, 0x7ffc),
            (90, 0xfd),
            (92, 0x7_fff0),
            (97, 3),
            (122, 0x7b),
            (127, 0xfff_fffc),
            (128, 0xf_ffe6),
            (199, 0x1ff_ffec),
            (249, 0xfff_fffe),
            (255, 0x3ff_ffee),
            (256, 0x3fff_ffff),
        ];
        for (symbol, known) in known {
            assert_eq!(code(symbol).0, known, "{symbol}");
        }
        assert!(size_of_val(&STEPS) + size_of_val(&RANKS) < 20 * 1024);
    }

    #[test]
    fn texts_of_the_rfc_are_unpacked() {
        let texts: [(&[u8], &str); 4] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x64, 0x02], "302"),
            (&[0x9b, 0xd9, 0xab], "gzip"),
        ];
        for (packed, text) in texts {
            assert_eq!(unpacked(packed).unwrap(), text.as_bytes());
            assert_eq!(pack(text.as_bytes()), packed);
        }
        assert_eq!(unpacked(b""), Some(Vec::new()));
    }

    #[test]
    fn every_two_bytes_are_unpacked_wherever_they_stand() {
        for first in 0..=255 {
            for second in 0..=255 {
                let texts: [&[u8]; 3] =
                    [&[first, second], &[b'a', first, b'b', second], &[b'a', b':', first]];
                for text in texts {
                    assert_eq!(unpacked(&pack(text)).unwrap(), text);
                }
            }
        }
    }

    #[test]
    fn padding_is_up_to_seven_ones() {
        // `0` has five bits, `X` eight; together they leave room for every length of padding.
        let all = ["00000000", "11111111"];
        for count in 0..=40 {
            let (front, text) = ("00000".repeat(count), "0".repeat(count));
            let left = 8 - (5 * count) % 8;
            let pad = if left == 8 { String::new() } else { "1".repeat(left) };
            assert_eq!(unpacked(&bits(&format!("{front}{pad}"))).unwrap(), text.as_bytes(), "{count}");
            for more in 1..=5 {
                let long = format!("{front}{pad}{}", all[1].repeat(more));
                assert_eq!(unpacked(&bits(&long)), None, "{count} {more}");
            }
            // A zero anywhere in it.
            for zero in 0..pad.len() {
                let mut pad = pad.clone();
                pad.replace_range(zero..=zero, "0");
                let bad = unpacked(&bits(&format!("{front}{pad}")));
                // Five bits and more may be a code, with ones behind it.
                let is_code = zero + 1 < pad.len() && pad.len() >= 5;
                assert!(bad.is_none() || is_code, "{count} {pad}");
            }
        }
        for bad in ["00000 000", "00000 110", "00000 011", "00011 101", "11111110", "10100 00000 011110"] {
            assert_eq!(unpacked(&bits(bad)), None, "{bad}");
        }
    }

    #[test]
    fn the_end_of_a_text_is_refused_wherever_it_stands() {
        let end = "1".repeat(30);
        for front in 0..20 {
            let front = "00000".repeat(front);
            for behind in ["", "0".repeat(40).as_str()] {
                let mut text = format!("{front}{end}{behind}");
                while text.len() % 8 != 0 {
                    text.push('1');
                }
                assert_eq!(unpacked(&bits(&text)), None, "{text}");
            }
        }
    }

    #[test]
    fn a_code_that_goes_on_behind_the_last_byte_is_refused() {
        for byte in 0..=255 {
            let packed = pack(&[byte, byte, byte]);
            let whole = unpacked(&packed).unwrap();
            let cut = unpacked(&packed[..packed.len() - 1]);
            assert!(cut.is_none_or(|cut| cut.len() < whole.len() && whole.starts_with(&cut)), "{byte}");
        }
    }

    /// One bit after another, by the lengths alone.
    fn slowly(packed: &[u8]) -> Option<Vec<u8>> {
        let codes: std::collections::HashMap<_, _> =
            (0..SYMBOLS).map(|symbol| (code(symbol), symbol)).collect();
        let (mut text, mut bits, mut count) = (Vec::new(), 0_u32, 0);
        for at in 0..packed.len() * 8 {
            bits = bits << 1 | u32::from(packed[at / 8] >> (7 - at % 8) & 1);
            count += 1;
            if let Some(symbol) = codes.get(&(bits, count)) {
                text.push(u8::try_from(*symbol).ok()?);
                (bits, count) = (0, 0);
            }
        }
        (count < 8 && bits == (1 << count) - 1).then_some(text)
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(text in vec(any::<u8>(), 0..200), letters in "[ -~]{0,200}") {
            prop_assert_eq!(unpacked(&pack(&text)), Some(text));
            prop_assert_eq!(unpacked(&pack(letters.as_bytes())), Some(letters.into_bytes()));
        }

        #[test]
        fn steps_are_as_good_as_bits(packed in vec(any::<u8>(), 0..40), ones in vec(0xf0..=0xff_u8, 0..10)) {
            prop_assert_eq!(unpacked(&packed), slowly(&packed));
            let both = [packed, ones].concat();
            prop_assert_eq!(unpacked(&both), slowly(&both));
        }
    }
}
