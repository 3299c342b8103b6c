//! What a certificate says of itself: when it is valid, and for which names. No signature is checked here.
//!
//! Hand-written, since rustls keeps both to itself: a walk over the few fields of DER that are needed (RFC 5280, 4.1).
//! Whatever does not look as it should is `None`, never a panic.

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// First second of its validity, since 1970.
    pub not_before: i64,
    /// Last one.
    pub not_after: i64,
    /// DNS names of its `subjectAltName`, in lower case, `*.` and all.
    pub names: Vec<String>,
}

/// Whose certificate it is, and who says so. Nothing is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Without leading zeros that only keep it positive.
    pub serial: &'a [u8],
    /// All of the name, in DER.
    pub issuer: &'a [u8],
    /// All of the name, in DER.
    pub subject: &'a [u8],
    /// First second of its validity, since 1970.
    pub not_before: i64,
    /// Last one.
    pub not_after: i64,
    /// URIs of its `subjectAltName`.
    pub uris: Vec<&'a [u8]>,
    /// DNS names of it, as they stand.
    pub names: Vec<&'a [u8]>,
}

const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The version of a certificate, among others.
const EXPLICIT_0: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `dNSName` among the general names.
const DNS_NAME: u8 = 0x82;
/// `uniformResourceIdentifier` among them.
const URI: u8 = 0x86;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Reads a certificate in DER.
#[must_use]
pub fn read(der: &[u8]) -> Option<Facts> {
    let Identity { not_before, not_after, names, .. } = identity(der)?;
    let names =
        names.into_iter().filter_map(|name| Some(std::str::from_utf8(name).ok()?.to_ascii_lowercase()));
    Some(Facts { not_before, not_after, names: names.collect() })
}

/// Reads from a certificate in DER whose it is.
#[must_use]
pub fn identity(der: &[u8]) -> Option<Identity<'_>> {
    let (certificate, _) = expect(SEQUENCE, der)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, after)) = expect(EXPLICIT_0, rest) {
        rest = after;
    }
    let (serial, rest) = expect(INTEGER, rest)?;
    let serial = serial.strip_prefix(&[0]).filter(|left| !left.is_empty()).unwrap_or(serial);
    // The signature's algorithm.
    let (_, rest) = expect(SEQUENCE, rest)?;
    let (issuer, rest) = whole(rest)?;
    let (validity, rest) = expect(SEQUENCE, rest)?;
    let (not_before, after) = time(validity)?;
    let (not_after, _) = time(after)?;
    let (subject, mut rest) = whole(rest)?;
    let mut of = Identity { serial, issuer, subject, not_before, not_after, uris: vec![], names: vec![] };
    while let Some((tag, content, after)) = any(rest) {
        if tag == EXTENSIONS {
            for_general_names(expect(SEQUENCE, content)?.0, &mut |tag, name| match tag {
                URI => of.uris.push(name),
                DNS_NAME => of.names.push(name),
                _ => {}
            });
        }
        rest = after;
    }
    Some(of)
}

/// The next element with its kind and length, and what follows it.
fn whole(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, _, rest) = any(der)?;
    der.split_at_checked(der.len().checked_sub(rest.len())?)
}

/// Whether this is an OCSP response in DER that says "successful" (RFC 6960, 4.2.1).
#[must_use]
pub fn is_ocsp_response(der: &[u8]) -> bool {
    expect(SEQUENCE, der).is_some_and(|(content, rest)| rest.is_empty() && content.starts_with(&[0x0a, 1, 0]))
}

/// When what an OCSP response says of certificates holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `thisUpdate`: the first second, since 1970; the latest of several.
    pub from: i64,
    /// `nextUpdate`: the last one, the earliest of several. `None` = newer answers are there at any time.
    pub until: Option<i64>,
}

/// Reads when a successful OCSP response holds (RFC 6960, 4.2.1). `None` for one without a basic response in it, or with
/// nothing in that.
#[must_use]
pub fn ocsp_validity(der: &[u8]) -> Option<Validity> {
    let (response, _) = expect(SEQUENCE, der)?;
    // Status, then type and bytes of the response.
    let (bytes, _) = expect(EXPLICIT_0, any(response)?.2)?;
    let (_, bytes) = expect(OBJECT, expect(SEQUENCE, bytes)?.0)?;
    let (basic, _) = expect(SEQUENCE, expect(OCTETS, bytes)?.0)?;
    let (mut rest, _) = expect(SEQUENCE, basic)?;
    if let Some((_, after)) = expect(EXPLICIT_0, rest) {
        rest = after;
    }
    // Responder, then when it was made.
    let (_, rest) = time(any(rest)?.2)?;
    let (mut each, _) = expect(SEQUENCE, rest)?;
    let mut validity = None;
    while let Some((one, after)) = expect(SEQUENCE, each) {
        each = after;
        // Whose it is, and what is said.
        let (from, rest) = time(any(any(one)?.2)?.2)?;
        let until = match expect(EXPLICIT_0, rest) {
            Some((until, _)) => Some(time(until)?.0),
            None => None,
        };
        let before = validity.unwrap_or(Validity { from, until });
        let until = before.until.into_iter().chain(until).min();
        validity = Some(Validity { from: from.max(before.from), until });
    }
    validity
}

/// All names of `subjectAltName`, with their kinds.
fn for_general_names<'a>(mut extensions: &'a [u8], tell: &mut dyn FnMut(u8, &'a [u8])) {
    while let Some((extension, after)) = expect(SEQUENCE, extensions) {
        extensions = after;
        let Some((id, mut value)) = expect(OBJECT, extension) else { continue };
        if id != SUBJECT_ALT_NAME {
            continue;
        }
        if let Some((_, after)) = expect(BOOLEAN, value) {
            value = after;
        }
        let content = expect(OCTETS, value).and_then(|(octets, _)| expect(SEQUENCE, octets));
        let Some((mut general, _)) = content else { continue };
        while let Some((tag, name, after)) = any(general) {
            general = after;
            tell(tag, name);
        }
    }
}

/// The content of an element of this kind, and what follows it.
fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(der)?;
    (found == tag).then_some((content, rest))
}

/// Kind and content of the next element, and what follows it. Lengths of up to three bytes, as certificates have them.
fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` (1950 to 2049) or `YYYYMMDDHHMMSSZ`, as seconds since 1970.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (tag, text, rest) = any(der)?;
    let digits = text.strip_suffix(b"Z")?;
    let (year, digits) = match tag {
        UTC_TIME => {
            let (year, digits) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits)
        }
        GENERAL_TIME => {
            let (year, digits) = digits.split_at_checked(4)?;
            (number(year)?, digits)
        }
        _ => return None,
    };
    let (pairs, odd) = digits.as_chunks::<2>();
    let [month, day, hour, minute, second] = pairs else { return None };
    if !odd.is_empty() {
        return None;
    }
    let (month, day) = (number(month)?, number(day)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = number(hour)? * 3600 + number(minute)? * 60 + number(second)?;
    Some((days(year, month, day) * 86_400 + seconds, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number: i64, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Days since 1970, after Howard Hinnant's `days_from_civil`: years start in March, so that the leap day is the last.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn der(pem: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
    }

    #[test]
    fn names_and_times_are_those_that_openssl_prints() {
        let one = read(&der(include_str!("testdata/one.pem"))).unwrap();
        assert_eq!(one.names, ["one.example", "*.wild.example"]);
        // X.509 version 1 has times, and no extensions.
        let old = read(include_bytes!("../net/testdata/version1.der")).unwrap();
        assert!(old.names.is_empty() && old.not_before < old.not_after);
    }

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        let read = |tag, text: &[u8]| {
            let mut der = vec![tag, u8::try_from(text.len()).unwrap()];
            der.extend_from_slice(text);
            time(&der).map(|(seconds, _)| seconds)
        };
        assert_eq!(read(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(UTC_TIME, b"500101000000Z"), Some(-631_152_000));
        assert_eq!(read(GENERAL_TIME, b"20000229000000Z"), Some(951_782_400));
        assert_eq!(read(GENERAL_TIME, b"21000301000000Z"), Some(4_107_542_400));
        for bad in [&b"7001010000Z"[..], b"700101000000", b"701301000000Z", b"70010100000xZ", b"Z", b""] {
            assert_eq!(read(UTC_TIME, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = der(include_str!("testdata/one.pem"));
        for at in 0..good.len() {
            drop((read(&good[..at]), identity(&good[..at])));
            for value in [0, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                drop((read(&bad), identity(&bad)));
            }
        }
    }

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82][..], &length, content].concat()
    }

    /// A response that says of each of these times, from and until.
    pub(in crate::model) fn response(each: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
        let of = |(from, until): &(&[u8], Option<&[u8]>)| {
            let until = until.map(|until| element(0xa0, &element(GENERAL_TIME, until))).unwrap_or_default();
            let said = [element(SEQUENCE, b""), element(0x80, b""), element(GENERAL_TIME, from), until];
            element(SEQUENCE, &said.concat())
        };
        let responses: Vec<u8> = each.iter().flat_map(of).collect();
        let data = [
            element(0xa2, &element(OCTETS, b"key")),
            element(GENERAL_TIME, b"20260101000000Z"),
            element(SEQUENCE, &responses),
        ];
        let basic = element(SEQUENCE, &element(SEQUENCE, &data.concat()));
        let bytes = [element(OBJECT, &[0x2b]), element(OCTETS, &basic)].concat();
        let body = [vec![0x0a, 1, 0], element(0xa0, &element(SEQUENCE, &bytes))].concat();
        element(SEQUENCE, &body)
    }

    #[test]
    fn an_ocsp_response_says_how_long_it_holds() {
        let (first, later): (&[u8], &[u8]) = (b"19700101000000Z", b"19700102000000Z");
        let of = |each: &[(&[u8], Option<&[u8]>)]| {
            let response = response(each);
            assert!(is_ocsp_response(&response));
            ocsp_validity(&response)
        };
        let validity = |from, until| Some(Validity { from, until });
        assert_eq!(of(&[(first, Some(later))]), validity(0, Some(86_400)));
        assert_eq!(of(&[(first, None)]), validity(0, None));
        assert_eq!(of(&[(first, Some(later)), (later, None)]), validity(86_400, Some(86_400)));
        assert_eq!(of(&[]), None);
        assert_eq!(ocsp_validity(&[0x30, 3, 0x0a, 1, 0]), None, "nothing is said");
        let good = response(&[(first, Some(later))]);
        for at in 0..good.len() {
            let _ = ocsp_validity(&good[..at]);
            for value in [0, 0x7f, 0x80, 0x83, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = ocsp_validity(&bad);
            }
        }
    }

    #[test]
    fn an_ocsp_response_says_that_it_is_a_good_one() {
        assert!(is_ocsp_response(&[0x30, 3, 0x0a, 1, 0]));
        for bad in [&[0x30, 3, 0x0a, 1, 6][..], &[0x30, 3, 0x0a, 1, 0, 0], b"-----BEGIN", b""] {
            assert!(!is_ocsp_response(bad), "{bad:?}");
        }
    }
}
