//! Pieces of heads as text, in both directions.

use bytes::BufMut;

/// A header with its line's end.
pub(crate) fn write_header(out: &mut impl BufMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// How long the body is.
pub(crate) fn write_length(out: &mut impl BufMut, length: u64) {
    out.put_slice(b"content-length: ");
    write_number(out, length);
    out.put_slice(b"\r\n");
}

/// In decimal digits. Without the formatting machinery, which costs ten times as much.
pub(crate) fn write_number(out: &mut impl BufMut, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_headers_are_written_as_they_are_read() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
        let mut out = Vec::new();
        write_header(&mut out, b"a", b"b");
        write_length(&mut out, 70);
        assert_eq!(out, b"a: b\r\ncontent-length: 70\r\n");
    }
}
