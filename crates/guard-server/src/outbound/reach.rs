//! Which addresses a request may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 networks that are not part of the public internet, from the registry of IANA:
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>.
const SPECIAL_V4: [(&str, &str); 16] = [
    ("0.0.0.0/8", "this machine"),
    ("10.0.0.0/8", "a private network"),
    ("100.64.0.0/10", "a provider's shared network (CGNAT)"),
    ("127.0.0.0/8", "this machine"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "a private network"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "for documentation"),
    ("192.88.99.0/24", "a relay of 6to4"),
    ("192.168.0.0/16", "a private network"),
    ("198.18.0.0/15", "for benchmarks"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("255.255.255.255/32", "broadcast"),
];

/// The public internet of IPv6: the only block from which IANA hands out unicast addresses.
const GLOBAL_V6: &str = "2000::/3";

/// The networks that are not public: within [`GLOBAL_V6`], and the best known ones outside of it.
/// From <https://www.iana.org/assignments/iana-ipv6-special-registry>.
const SPECIAL_V6: [(&str, &str); 13] = [
    ("::/128", "this machine"),
    ("::1/128", "this machine"),
    ("64:ff9b:1::/48", "translated to IPv4 (NAT64)"),
    ("100::/64", "discarded"),
    ("2001::/32", "tunnelled to IPv4 (Teredo)"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "tunnelled to IPv4 (6to4)"),
    ("3fff::/20", "for documentation"),
    ("fc00::/7", "a private network"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "a private network"),
    ("ff00::/8", "multicast"),
];

/// What RFC 6052 puts before an IPv4 address, to reach it from a network without IPv4.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

struct Special {
    v4: Vec<(Ipv4Net, &'static str)>,
    v6: Vec<(Ipv6Net, &'static str)>,
    global_v6: Option<Ipv6Net>,
}

static SPECIAL: LazyLock<Special> = LazyLock::new(|| Special {
    v4: parsed(&SPECIAL_V4),
    v6: parsed(&SPECIAL_V6),
    global_v6: GLOBAL_V6.parse().ok(),
});

fn parsed<T: std::str::FromStr>(
    networks: &[(&'static str, &'static str)],
) -> Vec<(T, &'static str)> {
    let parse = |(network, what): &(&str, &'static str)| Some((network.parse().ok()?, *what));
    networks.iter().filter_map(parse).collect()
}

/// The addresses that requests may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of the public internet.
    Public,
    /// All, also those of this machine and of private networks.
    All,
}

impl Reach {
    /// Says what forbids an address, as in "it is ...". `None` if it may be reached.
    pub(super) const fn judge(self) -> fn(IpAddr) -> Option<&'static str> {
        match self {
            Self::Public => refusal,
            Self::All => |_| None,
        }
    }
}

fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => refusal_v4(v4),
        IpAddr::V6(v6) => refusal_v6(v6),
    }
}

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    let found = SPECIAL.v4.iter().find(|(net, _)| net.contains(&address));
    found.map(|(_, what)| *what)
}

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(v4) = embedded_v4(address) {
        return refusal_v4(v4);
    }
    let found = SPECIAL.v6.iter().find(|(net, _)| net.contains(&address));
    if let Some((_, what)) = found {
        return Some(what);
    }
    let is_global = SPECIAL.global_v6.is_some_and(|net| net.contains(&address));
    (!is_global).then_some("not of the public internet")
}

/// The IPv4 address that a connection to `address` reaches.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let rest = address.segments();
    let (prefix, [high, low]) = rest.split_last_chunk::<2>()?;
    (prefix == NAT64.as_slice())
        .then(|| Ipv4Addr::from_bits(u32::from(*high) << 16 | u32::from(*low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str) -> Option<&'static str> {
        Reach::Public.judge()(address.parse().unwrap())
    }

    #[test]
    fn every_network_of_the_tables_is_valid() {
        assert_eq!(SPECIAL.v4.len(), SPECIAL_V4.len());
        assert_eq!(SPECIAL.v6.len(), SPECIAL_V6.len());
        assert!(SPECIAL.global_v6.is_some());
    }

    #[test]
    fn addresses_outside_of_the_public_internet_are_refused() {
        for address in [
            // The first and the last address of each network, where it has neighbours.
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fc00::",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::",
            "3fff::1",
            "100::1",
            "5f00::1",
            "64:ff9b:1::8.8.8.8",
            "4000::1",
            // Another way to write an IPv4 address that is refused.
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b::192.168.1.1",
        ] {
            assert!(refusal(address).is_some(), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_public_internet_are_reached() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "3ffe::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert_eq!(refusal(address), None, "{address}");
        }
    }

    #[test]
    fn a_refusal_says_what_the_address_is() {
        for (address, expected) in [
            ("127.0.0.1", "this machine"),
            ("100.64.0.1", "a provider's shared network (CGNAT)"),
            ("2001::1", "tunnelled to IPv4 (Teredo)"),
            ("::ffff:10.0.0.1", "a private network"),
            ("4000::1", "not of the public internet"),
        ] {
            assert_eq!(refusal(address), Some(expected), "{address}");
        }
    }

    #[test]
    fn all_addresses_are_reached_if_the_operator_allows_it() {
        assert_eq!(Reach::All.judge()("127.0.0.1".parse().unwrap()), None);
    }
}
