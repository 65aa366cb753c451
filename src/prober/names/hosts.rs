//! `/etc/hosts`, read as the C library reads it ([hosts(5)](https://man7.org/linux/man-pages/man5/hosts.5.html)).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::system_file::Faults;

/// Most names that are read.
const MAX_NAMES: usize = 1_000_000;
/// Longest name, in bytes; a longer one cannot be looked up.
const MAX_NAME: usize = 253;

/// The names of a hosts file, in lower case without the trailing dot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(HashMap<Box<str>, Vec<IpAddr>>);

impl Hosts {
    /// Parses the file. An invalid name is skipped; an invalid address, with its line.
    pub(crate) fn parse(bytes: &[u8], faults: &mut Faults) -> Self {
        let mut hosts = Self::default();
        for (n, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let entry = line.split(|b| *b == b'#').next().unwrap_or_default();
            let mut words = entry.split(|b| b.is_ascii_whitespace() || *b == 0x0b).filter(|word| !word.is_empty());
            let Some(first) = words.next() else { continue };
            let Some(address) = address(first) else {
                faults.add(n + 1, first, "not an IP address");
                continue;
            };
            for name in words {
                if hosts.0.len() >= MAX_NAMES {
                    faults.add(n + 1, name, "there are more than 1,000,000 names");
                } else if !hosts.add(name, address) {
                    faults.add(n + 1, name, "not a host name");
                }
            }
        }
        hosts
    }

    fn add(&mut self, name: &[u8], address: IpAddr) -> bool {
        let plain = name.strip_suffix(b".").unwrap_or(name);
        let Some(name) = std::str::from_utf8(plain).ok().filter(|name| name.is_ascii() && name.len() <= MAX_NAME)
        else {
            return false;
        };
        let addresses = self.0.entry(name.to_ascii_lowercase().into()).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        true
    }

    /// The name's addresses in the order of the file, IPv4 first; `localhost` always means both loopbacks
    /// ([RFC 6761 §6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)), unless the file maps it elsewhere.
    pub(crate) fn find(&self, name: &str) -> Option<Vec<IpAddr>> {
        let plain = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let mut found = self.0.get(plain.as_str()).cloned().unwrap_or_default();
        if is_localhost(&plain) && found.iter().all(IpAddr::is_loopback) {
            for loopback in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
                let listed = found.iter().any(|ip| ip.is_ipv4() == loopback.is_ipv4());
                found.extend((!listed).then_some(loopback));
            }
        }
        found.sort_by_key(IpAddr::is_ipv6);
        (!found.is_empty()).then_some(found)
    }
}

/// Whether the name means this machine, whatever a file or a server says.
pub(crate) fn is_localhost(name: &str) -> bool {
    let plain = name.strip_suffix('.').unwrap_or(name);
    let last = plain.rsplit('.').next().unwrap_or(plain);
    last.eq_ignore_ascii_case("localhost")
}

/// An address; the scope of an IPv6 one is dropped, since it has no meaning elsewhere.
fn address(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?;
    match text.split_once('%') {
        Some((address, _)) => address.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &[u8], name: &str) -> String {
        let hosts = Hosts::parse(file, &mut Faults::default());
        let found = hosts.find(name).unwrap_or_default();
        found.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_are_found_in_any_case_and_with_a_trailing_dot() {
        let file = b"10.0.0.9 DB db.corp # a comment\r\nfd00::9\tdb\n\n 10.0.0.8\x0bdb.corp. # db\n10.0.0.9 db";
        for (name, addresses) in
            [("db", "10.0.0.9 fd00::9"), ("db.", "10.0.0.9 fd00::9"), ("Db.Corp", "10.0.0.9 10.0.0.8"), ("corp", "")]
        {
            assert_eq!(found(file, name), addresses, "{name}");
        }
    }

    #[test]
    fn an_invalid_word_affects_nothing_else() {
        let file = b"10.0.0.1 b\xfcro one.test # B\xfcro\n999.0.0.1 two.test\n10.0.0.3 three.test\n\x00\xff\n# B\xfcro\nfe80::1%eth0 four.test";
        let mut faults = Faults::default();
        let hosts = Hosts::parse(file, &mut faults);
        assert_eq!(
            ["one.test", "two.test", "three.test", "four.test"].map(|name| hosts.find(name).is_some()),
            [true, false, true, true]
        );
        let named = faults.named().join("; ");
        assert_eq!(faults.named().len(), 3, "{named}");
        for word in ["line 1", "line 2: 999.0.0.1 is skipped: not an IP address", "line 4"] {
            assert!(named.contains(word), "{named}");
        }
    }

    #[test]
    fn this_machine_is_reached_in_both_families() {
        for (file, addresses) in [
            (&b""[..], "127.0.0.1 ::1"),
            (b"127.0.0.1 localhost\n", "127.0.0.1 ::1"),
            (b"::1 localhost\n127.0.0.9 localhost", "127.0.0.9 ::1"),
            (b"10.0.0.1 localhost", "10.0.0.1"),
        ] {
            assert_eq!(found(file, "localhost"), addresses);
            assert_eq!(found(b"", "db.LOCALHOST."), "127.0.0.1 ::1");
        }
        assert!(!is_localhost("localhost.test") && !is_localhost("notlocalhost"));
    }
}
