//! An address, or a CIDR block of addresses.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv6 prefix of an IPv4-mapped address.
const MAPPED_BITS: u8 = 96;

/// The canonical form: host bits are cleared, and IPv4-mapped addresses are IPv4, as guards read
/// them (`::ffff:192.0.2.7`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().ok()?;
        let bits = match prefix {
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().ok()?
            }
            Some(_) => return None,
            None => longest(address),
        };
        (bits <= longest(address)).then(|| Self::of(address, bits))
    }

    fn of(address: IpAddr, bits: u8) -> Self {
        let is_mapped = address.to_canonical().is_ipv4() && address.is_ipv6();
        if is_mapped && bits >= MAPPED_BITS {
            return Self::of(address.to_canonical(), bits - MAPPED_BITS);
        }
        let host = u32::from(longest(address) - bits);
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(host).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(host).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Self { address, bits }
    }

    /// Whether it holds more than one address.
    pub(super) fn is_block(self) -> bool {
        self.bits < longest(self.address)
    }

    /// Whether its prefix is shorter than this many bits, given for IPv4 and for IPv6.
    pub(super) fn is_wider_than(self, (v4, v6): (u8, u8)) -> bool {
        self.bits < if self.address.is_ipv4() { v4 } else { v6 }
    }

    pub(super) fn holds(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Self::of(address, self.bits) == self
    }

    /// 0 for IPv4 or 1 for IPv6, then the first and the last address. For IPv6, these are the upper
    /// 64 bits.
    fn range(self) -> (usize, u64, u64) {
        let (family, first, length) = match self.address {
            IpAddr::V4(v4) => (0, u64::from(v4.to_bits()), 32),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments().map(u64::from);
                (1, a << 48 | b << 32 | c << 16 | d, 64)
            }
        };
        let hosts = length - u32::from(self.bits).min(length);
        let rest = u64::MAX.checked_shr(64 - hosts).unwrap_or(0);
        (family, first, first | rest)
    }

    /// Whether the two networks share addresses.
    pub(super) fn meets(self, other: Self) -> bool {
        self.holds(other.address) || other.holds(self.address)
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_block() {
            write!(f, "{}/{}", self.address, self.bits)
        } else {
            self.address.fmt(f)
        }
    }
}

/// Networks for looking up addresses. The time depends only on the number of different prefix
/// lengths.
pub(super) struct Networks {
    all: HashSet<Network>,
    bits: BTreeSet<u8>,
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let all: HashSet<_> = networks.into_iter().collect();
        let bits = all.iter().map(|network| network.bits).collect();
        Self { all, bits }
    }
}

impl Networks {
    /// The widest network that holds the address.
    pub(super) fn around(&self, address: IpAddr) -> Option<Network> {
        let address = address.to_canonical();
        let bits = self.bits.range(..=longest(address));
        let mut networks = bits.map(|bits| Network::of(address, *bits));
        networks.find(|network| self.all.contains(network))
    }
}

/// How much of IPv4 and of IPv6 the networks cover together. The result is the n of the share
/// 1/2^n, rounded down to such a share; `None` for nothing. IPv6 is counted in blocks of /64.
pub(super) fn covered(networks: impl IntoIterator<Item = Network>) -> [Option<u32>; 2] {
    let mut networks: Vec<_> = networks.into_iter().map(Network::range).collect();
    networks.sort_unstable_by_key(|&(family, first, last)| (family, first, Reverse(last)));
    let (mut sums, mut ends) = ([0_u128; 2], [0_u64; 2]);
    // Of two networks, one holds the other or they share nothing.
    for (family, first, last) in networks {
        if sums[family] == 0 || first > ends[family] {
            sums[family] += u128::from(last - first) + 1;
            ends[family] = last;
        }
    }
    [(sums[0], 32), (sums[1], 64)].map(|(sum, bits)| Some(bits - sum.checked_ilog2()?.min(bits)))
}

fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_networks_have_the_same_form() {
        for (text, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0:0::7", "2001:db8::7"),
            ("2001:db8::7/32", "2001:db8::/32"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:c000:207", "192.0.2.7"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            let network = Network::parse(text).map(|network| network.to_string());
            assert_eq!(network.as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn invalid_networks_are_refused() {
        for text in [
            "",
            "/",
            "192.0.2",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/-1",
            "::/129",
            "fe80::1%eth0",
            "[::1]",
            "localhost",
            "192.0.2.1-9",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_found_in_the_widest_network_around_it() {
        let networks = ["192.0.2.0/24", "192.0.0.0/16", "192.0.2.7", "2001:db8::/32"];
        let networks: Networks = networks.into_iter().filter_map(Network::parse).collect();
        for (address, expected) in [
            ("192.0.2.7", Some("192.0.0.0/16")),
            ("::ffff:192.0.2.7", Some("192.0.0.0/16")),
            ("2001:db8::7", Some("2001:db8::/32")),
            ("192.1.2.7", None),
            ("::", None),
        ] {
            let found = networks.around(address.parse().unwrap());
            let found = found.map(|network| network.to_string());
            assert_eq!(found.as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn overlapping_networks_are_counted_once_in_the_share() {
        for (texts, expected) in [
            (&[][..], [None, None]),
            (&["192.0.2.7"], [Some(32), None]),
            (&["0.0.0.0/0"], [Some(0), None]),
            (&["::/0"], [None, Some(0)]),
            (&["0.0.0.0/1", "128.0.0.0/1"], [Some(0), None]),
            (&["10.0.0.0/8", "10.0.0.0/9", "10.1.2.3"], [Some(8), None]),
            (
                &["10.0.0.0/8", "11.0.0.0/8", "::1", "::2"],
                [Some(7), Some(64)],
            ),
            (&["0.0.0.0", "0.0.0.1/32"], [Some(31), None]),
        ] {
            let networks = texts.iter().filter_map(|text| Network::parse(text));
            assert_eq!(covered(networks), expected, "{texts:?}");
        }
    }

    #[test]
    fn a_block_holds_its_addresses_and_meets_overlapping_blocks() {
        let network = |text: &str| Network::parse(text).unwrap();
        let address = |text: &str| text.parse().unwrap();
        assert!(network("192.0.2.0/24").holds(address("192.0.2.255")));
        assert!(network("192.0.2.0/24").holds(address("::ffff:192.0.2.1")));
        assert!(!network("192.0.2.0/24").holds(address("192.0.3.0")));
        assert!(!network("::/0").holds(address("192.0.2.1")));
        assert!(network("127.3.0.0/16").meets(network("127.0.0.0/8")));
        assert!(network("0.0.0.0/0").meets(network("127.0.0.0/8")));
        assert!(!network("192.0.2.0/24").meets(network("192.0.3.0/24")));
    }
}
