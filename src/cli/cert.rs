//! `overspill cert dev`: an authority of one's own and a certificate from it, for TLS on a laptop.
//!
//! Keys go into files that only their owner may read, and nowhere else. The authority is made once per folder and used
//! again: whoever trusts it trusts the next certificate too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::args::CertDev;
use crate::clock;
use crate::model::certificate::Certificate;

/// Name of the authority. It stands in every certificate, so it must not change.
const AUTHORITY: &str = "Overspill development CA";
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Ten years.
const AUTHORITY_DAYS: u32 = 3650;
/// As long as browsers believe a certificate of a private authority.
const DAYS: u32 = 825;

/// Exit code: 0 made, 1 not made.
pub(super) fn dev(asked: &CertDev) -> u8 {
    match make(asked) {
        Ok(said) => {
            super::say(&said);
            0
        }
        Err(error) => {
            eprintln!("overspill cert dev: {error}");
            1
        }
    }
}

/// What is to be said about what was made.
fn make(asked: &CertDev) -> io::Result<String> {
    let name = asked.names.first().map_or("", String::as_str);
    let stem = name.replace('*', "wildcard").replace([':', '/'], "-");
    let place = |file: &str| asked.out.join(file);
    let (chain, key) = (place(&format!("{stem}.pem")), place(&format!("{stem}.key")));
    fs::create_dir_all(&asked.out).map_err(|error| named(&asked.out, &error))?;
    if !asked.force
        && let Some(there) = [&chain, &key].into_iter().find(|path| path.exists())
    {
        let message = format!("{} is there already; --force replaces it", there.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let (authority, is_new) = authority(&place("ca.pem"), &place("ca.key"))?;
    let own = KeyPair::generate().map_err(odd)?;
    let certificate = params(&asked.names)?.signed_by(&own, &authority).map_err(odd)?;
    // The key first: who watches the pair acts when the certificate comes.
    write(&key, &own.serialize_pem(), Mode::Secret, asked.force)?;
    write(&chain, &certificate.pem(), Mode::Open, asked.force)?;
    let (ca, made) = (place("ca.pem"), if is_new { "made" } else { "used" });
    let host = name.replace('*', "www");
    Ok(format!(
        "{made} the authority {}\nmade {} and {} for {}, good for {DAYS} days\n\n\
         sslCertificates:\n  - {{name: dev, certificateFile: {}, privateKeyFile: {}}}\n\n\
         curl --cacert {} https://{host}:8443/\n",
        ca.display(),
        chain.display(),
        key.display(),
        asked.names.join(", "),
        chain.display(),
        key.display(),
        ca.display(),
    ))
}

/// That of the folder, or a new one.
fn authority(certificate: &Path, key: &Path) -> io::Result<(Issuer<'static, KeyPair>, bool)> {
    let params = authority_params();
    if !certificate.exists() && !key.exists() {
        let pair = KeyPair::generate().map_err(odd)?;
        let own = params.self_signed(&pair).map_err(odd)?;
        write(key, &pair.serialize_pem(), Mode::Secret, false)?;
        write(certificate, &own.pem(), Mode::Open, false)?;
        return Ok((Issuer::new(params, pair), true));
    }
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| named(path, &error));
    let (pem, secret) = (read(certificate)?, read(key)?);
    let is_ours = Certificate::read("ca", &pem, &secret).is_ok_and(|both| {
        let der = both.certified().cert.first();
        der.is_some_and(|der| der.windows(AUTHORITY.len()).any(|part| part == AUTHORITY.as_bytes()))
    });
    let pair = KeyPair::from_pem(&secret).ok().filter(|_| is_ours);
    let pair = pair.ok_or_else(|| {
        io::Error::other(format!(
            "{} and {} are no authority of ours; take another folder, or take them away",
            certificate.display(),
            key.display()
        ))
    })?;
    Ok((Issuer::new(params, pair), false))
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let (from, to) = validity(AUTHORITY_DAYS);
    (params.not_before, params.not_after) = (from.into(), to.into());
    params
}

/// For servers, and for clients that show who they are.
fn params(names: &[String]) -> io::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.to_vec())
        .map_err(|error| io::Error::other(format!("no certificate can be for that name: {error}")))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names.first().map_or("", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let (from, to) = validity(DAYS);
    (params.not_before, params.not_after) = (from.into(), to.into());
    Ok(params)
}

/// From yesterday, for clocks that are late.
fn validity(days: u32) -> (SystemTime, SystemTime) {
    let now = clock::wall();
    (now - DAY, now + DAY * (days - 1))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Secret,
}

/// Whole or not at all: what is there stays until the new is complete. Without `replaces`, what is there stays.
fn write(path: &Path, text: &str, mode: Mode, replaces: bool) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let bits = if mode == Mode::Secret { 0o600 } else { 0o644 };
    let written =
        OpenOptions::new().write(true).create_new(true).mode(bits).open(&draft).and_then(|mut file: File| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    let moved =
        written.and_then(|()| if replaces { fs::rename(&draft, path) } else { fs::hard_link(&draft, path) });
    let _ = fs::remove_file(&draft);
    moved.map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn odd(error: rcgen::Error) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn asked(out: &Path, names: &[&str], force: bool) -> CertDev {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        CertDev { out: out.to_owned(), force, names }
    }

    #[test]
    fn keys_are_for_their_owner_alone_and_nothing_of_them_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new");
        let said = make(&asked(&out, &["*.example.test", "example.test", "127.0.0.1"], false)).unwrap();
        for key in ["ca.key", "wildcard.example.test.key"] {
            let path = out.join(key);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{key}");
            let secret = fs::read_to_string(&path).unwrap();
            let middle = secret.lines().nth(1).unwrap();
            assert!(middle.len() > 40 && !said.contains(middle));
        }
        let read = |file: &str| fs::read_to_string(out.join(file)).unwrap();
        let made =
            Certificate::read("c", &read("wildcard.example.test.pem"), &read("wildcard.example.test.key"));
        let facts = made.unwrap().facts().clone();
        assert_eq!(facts.names, ["*.example.test", "example.test"]);
        assert_eq!(facts.not_after - facts.not_before, i64::from(DAYS) * 24 * 3600);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 4, "no draft is left");
    }

    #[test]
    fn what_is_there_stays_unless_force_says_otherwise_and_the_authority_always() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        let read = |file: &str| fs::read_to_string(out.join(file)).unwrap();
        make(&asked(out, &["localhost"], false)).unwrap();
        let (ca, key) = (read("ca.pem"), read("localhost.key"));
        let refused = make(&asked(out, &["localhost"], false)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read("localhost.key"), key);
        make(&asked(out, &["localhost"], true)).unwrap();
        assert!(read("localhost.key") != key && read("ca.pem") == ca);
        fs::write(out.join("ca.key"), key).unwrap();
        let refused = make(&asked(out, &["other"], false)).unwrap_err().to_string();
        assert!(refused.contains("no authority of ours"), "{refused}");
    }

    #[test]
    fn a_name_that_no_certificate_can_have_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(make(&asked(folder.path(), &["näme"], false)).is_err());
    }
}
