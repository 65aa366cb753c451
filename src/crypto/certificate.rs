//! Parses a certificate, as far as a reason or a pinned certificate needs it
//! ([RFC 5280 §4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)). Lenient: callers check what a verdict depends on.

use std::net::IpAddr;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const MAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AltName {
    Dns(String),
    Uri(String),
    Mail(String),
    Address(String),
}

impl AltName {
    pub(crate) fn text(&self) -> &str {
        let (Self::Dns(text) | Self::Uri(text) | Self::Mail(text) | Self::Address(text)) = self;
        text
    }
}

/// The parts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a certificate")]
pub(crate) struct Certificate<'a> {
    /// The signed part.
    pub(crate) signed: &'a [u8],
    /// The content of the AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    /// 1 to 3.
    pub(crate) version: u8,
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    /// Unix seconds.
    pub(crate) not_before: i64,
    /// Unix seconds.
    pub(crate) not_after: i64,
    /// The key's AlgorithmIdentifier's content.
    pub(crate) key_algorithm: &'a [u8],
    pub(crate) key: &'a [u8],
    /// Whether it has a subjectAltName.
    pub(crate) names: bool,
    /// The content of its subjectAltName.
    alt_names: &'a [u8],
    /// Whether it is a CA's own.
    pub(crate) ca: bool,
    /// Most CAs between it and a server's certificate.
    pub(crate) path_length: Option<u64>,
    /// Whether it has name constraints.
    pub(crate) constrains_names: bool,
    /// Whether its extended key usage, if any, includes servers.
    pub(crate) for_servers: bool,
}

impl<'a> Certificate<'a> {
    /// Parses one; none if it is not a certificate.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(Der(der).take(SEQUENCE)?);
        let (_, content, signed) = outer.next()?;
        let algorithm = outer.take(SEQUENCE)?;
        let (_, signature) = outer.take(BIT_STRING)?.split_first()?;
        let mut fields = Der(content);
        let version = match fields.peek() {
            Some(VERSION) => Der(fields.take(VERSION)?).take(INTEGER)?.last()?.saturating_add(1),
            _ => 1,
        };
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = fields.take(SEQUENCE)?;
        let mut validity = Der(fields.take(SEQUENCE)?);
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = fields.take(SEQUENCE)?;
        let mut key_info = Der(fields.take(SEQUENCE)?);
        let key_algorithm = key_info.take(SEQUENCE)?;
        let (_, key) = key_info.take(BIT_STRING)?.split_first()?;
        let mut read = Self {
            signed,
            algorithm,
            signature,
            version,
            issuer,
            subject,
            not_before,
            not_after,
            key_algorithm,
            key,
            names: false,
            alt_names: &[],
            ca: false,
            path_length: None,
            constrains_names: false,
            for_servers: true,
        };
        while let Some((tag, content, _)) = fields.next() {
            if tag == EXTENSIONS {
                read.extensions(Der(content).take(SEQUENCE)?);
            }
        }
        Some(read)
    }

    fn extensions(&mut self, all: &'a [u8]) {
        let mut all = Der(all);
        while let Some(extension) = all.take(SEQUENCE) {
            let mut parts = Der(extension);
            let Some(id) = parts.take(OID) else { return };
            if parts.peek() == Some(BOOLEAN) {
                parts.next();
            }
            let value = parts.take(OCTET_STRING).unwrap_or_default();
            match id {
                SUBJECT_ALT_NAME => {
                    self.alt_names = Der(value).take(SEQUENCE).unwrap_or_default();
                    self.names = !self.alt_names.is_empty();
                }
                NAME_CONSTRAINTS => self.constrains_names = true,
                BASIC_CONSTRAINTS => {
                    let mut parts = Der(Der(value).take(SEQUENCE).unwrap_or_default());
                    self.ca = parts.peek() == Some(BOOLEAN) && parts.take(BOOLEAN).is_some_and(|v| v != [0]);
                    self.path_length = parts.take(INTEGER).map(number);
                }
                EXTENDED_KEY_USAGE => {
                    let mut purposes = Der(Der(value).take(SEQUENCE).unwrap_or_default());
                    let purposes = std::iter::from_fn(|| purposes.take(OID));
                    self.for_servers = purposes.into_iter().any(|purpose| [SERVER_AUTH, ANY_USAGE].contains(&purpose));
                }
                _ => {}
            }
        }
    }

    /// Its subject alternative names as text: DNS names, addresses, URIs and mail addresses, at most `most`.
    pub(crate) fn alt_names(&self, most: usize) -> Vec<String> {
        self.alt_names_by_kind(most).iter().map(|name| name.text().to_owned()).collect()
    }

    /// The same by their kinds.
    pub(crate) fn alt_names_by_kind(&self, most: usize) -> Vec<AltName> {
        self.each_alt_name().take(most).collect()
    }

    /// Whether one of all its subject alternative names is wanted.
    pub(crate) fn has_alt_name(&self, is_wanted: impl Fn(&str) -> bool) -> bool {
        self.each_alt_name().any(|name| is_wanted(name.text()))
    }

    fn each_alt_name(&self) -> impl Iterator<Item = AltName> {
        let mut names = Der(self.alt_names);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let next = std::iter::from_fn(move || names.next());
        next.filter_map(move |(tag, content, _)| match tag {
            MAIL => Some(AltName::Mail(text(content))),
            DNS => Some(AltName::Dns(text(content))),
            URI => Some(AltName::Uri(text(content))),
            ADDRESS => match *content {
                [a, b, c, d] => Some(AltName::Address(IpAddr::from([a, b, c, d]).to_string())),
                _ => Some(AltName::Address(IpAddr::from(<[u8; 16]>::try_from(content).ok()?).to_string())),
            },
            _ => None,
        })
    }

    /// Bits of an RSA key.
    pub(crate) fn rsa_bits(&self) -> Option<usize> {
        if Der(self.key_algorithm).take(OID)? != RSA {
            return None;
        }
        let modulus = Der(Der(self.key).take(SEQUENCE)?).take(INTEGER)?;
        let zeros = modulus.iter().take_while(|b| **b == 0).count();
        let first = modulus.get(zeros)?;
        Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte))
}

/// A day such as 2026-03-01, in UTC.
pub(crate) fn day(unix_seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::UTC).date().to_string()
}

/// DER, value by value.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its tag, its content, and all of it.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (usize::try_from(number(bytes)).ok()?, rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let all = self.0.get(..self.0.len() - after.len())?;
        self.0 = after;
        Some((*tag, content, all))
    }

    /// The content of the next value, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _, _)| *found == tag).map(|(_, content, _)| content)
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, content, _) = self.next()?;
        let digits = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            // two digits stand for 1950 to 2049
            UTC_TIME => {
                let (year, rest) = digits.split_at_checked(2)?;
                let year: i16 = year.parse().ok()?;
                (year + if year < 50 { 2000 } else { 1900 }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = digits.split_at_checked(4)?;
                (year.parse().ok()?, rest)
            }
            _ => return None,
        };
        let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
        let at = DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0).ok()?;
        Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
        change(&mut params);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificate_is_read() {
        let der = made(|params| {
            (params.not_before, params.not_after) = (date_time_ymd(1999, 12, 31), date_time_ymd(2061, 2, 3));
        });
        let read = Certificate::read(&der).expect("a certificate");
        assert_eq!((day(read.not_before).as_str(), day(read.not_after).as_str()), ("1999-12-31", "2061-02-03"));
        assert_eq!(
            (read.version, read.names, read.ca, read.for_servers, read.rsa_bits()),
            (3, true, false, true, None)
        );
        assert_eq!(read.issuer, read.subject);
    }

    #[test]
    fn its_names_are_read() {
        let der = made(|params| {
            params.subject_alt_names = vec![
                SanType::DnsName("*.a.test".try_into().expect("a name")),
                SanType::IpAddress([192, 0, 2, 1].into()),
                SanType::IpAddress("2001:db8::1".parse().expect("an address")),
                SanType::URI("spiffe://shop/user".try_into().expect("a URI")),
            ];
        });
        let read = Certificate::read(&der).expect("a certificate");
        assert_eq!(read.alt_names(9), ["*.a.test", "192.0.2.1", "2001:db8::1", "spiffe://shop/user"]);
        assert_eq!(read.alt_names(1).len(), 1);
        assert!(read.has_alt_name(|name| name == "spiffe://shop/user") && !read.has_alt_name(|name| name == "a.test"));
    }

    #[test]
    fn what_it_is_for_is_read() {
        let der = made(|params| {
            params.subject_alt_names.clear();
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        let read = Certificate::read(&der).expect("a certificate");
        assert_eq!((read.names, read.ca, read.path_length, read.for_servers), (false, true, Some(1), false));
    }

    #[test]
    fn what_is_cut_or_changed_never_panics() {
        let der = made(|_| {});
        for length in 0..der.len() {
            let cut = der.get(..length).unwrap_or_default();
            assert_eq!(Certificate::read(cut), None);
            let mut changed = der.clone();
            changed[length] ^= 0xff;
            if let Some(read) = Certificate::read(&changed) {
                let _ = (read.rsa_bits(), day(read.not_after), read.alt_names(9));
            }
        }
    }
}
