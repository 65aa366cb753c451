//! `/etc/resolv.conf`, read as the C library reads it ([resolv.conf(5)](https://man7.org/linux/man-pages/man5/resolv.conf.5.html)):
//! an invalid word is skipped, a number out of range is clamped, and the rest counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use hickory_proto::rr::Name;

use super::system_file::Faults;

/// Name servers that are used (`MAXNS`).
const MAX_SERVERS: usize = 3;
/// Search domains that are used; the C library has no bound, but each costs a query.
const MAX_SEARCH: usize = 32;
const MAX_NDOTS: u32 = 15;
const MAX_TIMEOUT: u32 = 30;
const MAX_ATTEMPTS: u32 = 5;
const DNS: u16 = 53;

/// Which servers to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the file's options are independent switches")]
pub(crate) struct Config {
    /// In order, at least one.
    pub(crate) servers: Vec<SocketAddr>,
    /// In order, absolute.
    pub(crate) search: Vec<Name>,
    /// A name with this many dots is first looked up as it is.
    pub(crate) ndots: usize,
    /// Timeout of one server.
    pub(crate) timeout: Duration,
    /// How often all servers are tried.
    pub(crate) attempts: u32,
    /// Whether each lookup starts with another server.
    pub(crate) rotate: bool,
    /// Whether only TCP is used.
    pub(crate) tcp: bool,
    /// Whether IPv6 addresses are not looked up.
    pub(crate) no_aaaa: bool,
    /// Whether the two families are looked up one after the other.
    pub(crate) single: bool,
}

impl Config {
    /// These servers, with the C library's defaults and no search domains.
    pub(crate) fn of(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            tcp: false,
            no_aaaa: false,
            single: false,
        }
    }

    /// Parses the file. `host` is this machine's name: its domain is searched if the file names none. Without a server, this machine is
    /// asked.
    pub(crate) fn parse(bytes: &[u8], host: &str, faults: &mut Faults) -> Self {
        let mut config = Self::of(Vec::new());
        let mut search = None;
        for (n, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let line = Line { number: n + 1, text: line.strip_suffix(b"\r").unwrap_or(line) };
            // A comment fills its line, or follows a space.
            let mut words = line.text.split(|b| *b == b' ' || *b == b'\t').filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or_default();
            let words = words.take_while(|word| !word.starts_with(b"#") && !word.starts_with(b";"));
            match keyword {
                b"nameserver" => config.server(words.take(1).next(), &line, faults),
                b"domain" => search = Some(domains(words.take(1), &line, faults)),
                b"search" => search = Some(domains(words, &line, faults)),
                b"options" => words.for_each(|word| config.option(word)),
                _ => {}
            }
        }
        config.search = search.unwrap_or_else(|| own_domain(host));
        if config.servers.is_empty() {
            config.servers.push((Ipv4Addr::LOCALHOST, DNS).into());
        }
        config
    }

    fn server(&mut self, word: Option<&[u8]>, line: &Line<'_>, faults: &mut Faults) {
        let word =
            word.map(|word| word.split(|b| matches!(b, b'#' | b';')).next().unwrap_or_default()).unwrap_or_default();
        match std::str::from_utf8(word).ok().and_then(server) {
            None => faults.add(line.number, word, "not the address of a name server"),
            Some(_) if self.servers.len() == MAX_SERVERS => {
                faults.add(line.number, word, "only three name servers are used");
            }
            Some(server) => self.servers.push(server),
        }
    }

    /// Applies an option; an unknown one is ignored.
    fn option(&mut self, word: &[u8]) {
        let word = word.strip_suffix(b",").unwrap_or(word);
        let Ok(word) = std::str::from_utf8(word) else { return };
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match name {
            "ndots" => self.ndots = number(value, 0, MAX_NDOTS).map_or(self.ndots, |n| n as usize),
            "timeout" => {
                self.timeout = number(value, 1, MAX_TIMEOUT).map_or(self.timeout, |n| Duration::from_secs(n.into()));
            }
            "attempts" => self.attempts = number(value, 1, MAX_ATTEMPTS).unwrap_or(self.attempts),
            "rotate" => self.rotate = true,
            "use-vc" => self.tcp = true,
            "no-aaaa" => self.no_aaaa = true,
            "single-request" | "single-request-reopen" => self.single = true,
            _ => {}
        }
    }
}

struct Line<'a> {
    number: usize,
    text: &'a [u8],
}

/// The leading digits, clamped; none if there are none.
fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (digits, _) = text.split_at(digits);
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(most).clamp(least, most))
}

/// A server's address, with the interface that a link-local one needs.
fn server(text: &str) -> Option<SocketAddr> {
    let Some((address, interface)) = text.split_once('%') else {
        return text.parse::<IpAddr>().ok().map(|ip| (ip, DNS).into());
    };
    let address: Ipv6Addr = address.parse().ok()?;
    Some(SocketAddrV6::new(address, DNS, 0, scope(interface)).into())
}

/// The interface's index; 0 if there is no such interface, which matters to link-local addresses only.
fn scope(interface: &str) -> u32 {
    let plain = !interface.contains(['/', '.']);
    let system = || std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex")).ok()?.trim().parse().ok();
    interface.parse().ok().or_else(|| if plain { system() } else { None }).unwrap_or(0)
}

fn domains<'a>(words: impl Iterator<Item = &'a [u8]>, line: &Line<'_>, faults: &mut Faults) -> Vec<Name> {
    let mut names = Vec::new();
    for word in words {
        match domain(word) {
            None => faults.add(line.number, word, "not a domain"),
            Some(_) if names.len() == MAX_SEARCH => faults.add(line.number, word, "only 32 search domains are used"),
            Some(name) if names.contains(&name) => {}
            Some(name) => names.push(name),
        }
    }
    names
}

/// A domain, absolute; `.` is the root.
fn domain(word: &[u8]) -> Option<Name> {
    if word == b"." {
        return Some(Name::root());
    }
    let text = std::str::from_utf8(word).ok()?;
    let plain = text.strip_suffix(',').unwrap_or(text);
    let plain = plain.strip_suffix('.').unwrap_or(plain);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let mut name = plain.split('.').all(label).then(|| Name::from_ascii(plain).ok()).flatten()?;
    name.set_fqdn(true);
    Some(name)
}

/// The domain part of this machine's name.
fn own_domain(host: &str) -> Vec<Name> {
    host.split_once('.').and_then(|(_, rest)| domain(rest.as_bytes())).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: impl AsRef<[u8]>) -> (Config, Vec<String>) {
        let mut faults = Faults::default();
        let config = Config::parse(file.as_ref(), "box.home.test", &mut faults);
        (config, faults.named().to_vec())
    }

    fn servers(file: impl AsRef<[u8]>) -> Vec<String> {
        read(file).0.servers.iter().map(|server| server.ip().to_string()).collect()
    }

    fn search(file: impl AsRef<[u8]>) -> Vec<String> {
        read(file).0.search.iter().map(Name::to_ascii).collect()
    }

    #[test]
    fn servers_are_read_and_a_bad_one_is_skipped() {
        let file = b"nameserver 10.0.0.1 # home\nnameserver ten\nnameserver\nnameserver\t::1;x\r\n nameserver 10.0.0.9\n\
            #nameserver 10.0.0.8\nNAMESERVER 10.0.0.7\nname\xffserver 10.0.0.6\nnameserver fe80::1%nowhere\nnameserver 10.0.0.4";
        assert_eq!(servers(file), ["10.0.0.1", "::1", "10.0.0.9"]);
        let (config, faults) = read(file);
        assert_eq!(config.servers[0].port(), 53);
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(faults[0].starts_with("line 2: ten is skipped"), "{faults:?}");
        assert_eq!(servers(""), ["127.0.0.1"]);
        let scoped: SocketAddr = "[fe80::1%1]:53".parse().expect("an address");
        assert_eq!(read("nameserver fe80::1%1").0.servers, [scoped]);
        assert_eq!(read("nameserver fe80::1%lo").0.servers, [scoped], "this machine's first interface");
    }

    #[test]
    fn search_domains_are_read_and_a_bad_one_is_skipped() {
        for (file, domains) in [
            ("search a.test, corp.test\n", &["a.test.", "corp.test."][..]),
            ("search foo..bar .lead b\u{fc}ro corp.test. corp.test\n", &["corp.test."]),
            ("search corp.test ; x\n", &["corp.test."]),
            ("search corp.test #x\r\n", &["corp.test."]),
            ("search\tcorp.test\n", &["corp.test."]),
            ("search .\n", &["."]),
            ("search\n", &[]),
            ("domain x.test y.test\n", &["x.test."]),
            ("domain x.test\nsearch corp.test\n", &["corp.test."]),
            ("search corp.test\ndomain x.test\n", &["x.test."]),
            ("nameserver 10.0.0.1\n", &["home.test."]),
        ] {
            assert_eq!(search(file), domains, "{file}");
        }
        let long = format!("search {}.test corp.test", "a".repeat(64));
        assert_eq!(search(&long), ["corp.test."]);
        assert_eq!(read(&long).1.len(), 1);
        let many: Vec<String> = (0..40).map(|n| format!("d{n}")).collect();
        assert_eq!(search(format!("search {}", many.join(" "))).len(), 32);
    }

    #[test]
    fn options_are_bounded_and_unknown_ones_are_passed_over() {
        let options = |words: &str| {
            let config = read(format!("options {words}\n")).0;
            (config.ndots, config.timeout.as_secs(), config.attempts)
        };
        for (words, read) in [
            ("", (1, 5, 2)),
            ("ndots:0 timeout:0 attempts:0", (0, 1, 1)),
            ("ndots:99 timeout:99999999999 attempts:9", (15, 30, 5)),
            ("ndots:x timeout: attempts", (1, 5, 2)),
            ("ndots:2, timeout:3 frob retrans:1 b\u{fc}ro", (2, 3, 2)),
        ] {
            assert_eq!(options(words), read, "{words}");
        }
        let config = read("options rotate use-vc\noptions no-aaaa single-request edns0 trust-ad\n").0;
        assert!(config.rotate && config.tcp && config.no_aaaa && config.single);
    }
}
