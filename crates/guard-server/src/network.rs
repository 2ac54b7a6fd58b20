//! An address, or a CIDR block of addresses.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::schema::text_schema;

/// The text is no address and no CIDR block.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is no address and no CIDR block such as 10.0.0.0/8")]
pub struct InvalidNetwork {
    text: String,
}

/// The IPv6 prefix before an IPv4 address that is written as an IPv6 one.
const MAPPED_BITS: u8 = 96;

/// A network in canonical form, so that equal networks compare equal: the host bits are zero,
/// and an IPv4 network that is written as IPv6 (`::ffff:192.0.2.7`) is IPv4, as guards read
/// client addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

text_schema!(
    Network,
    "An address or a CIDR block, IPv4 or IPv6.",
    "192.0.2.0/24"
);

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let network = match text.split_once('/') {
            Some((address, prefix)) => {
                let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
                let bits = is_number.then(|| prefix.parse().ok())??;
                IpNet::new(address.trim().parse().ok()?, bits).ok()?
            }
            None => IpNet::from(text.trim().parse::<IpAddr>().ok()?),
        };
        Some(Self::canonical(network))
    }

    fn canonical(network: IpNet) -> Self {
        if let IpNet::V6(v6) = network
            && let Some(address) = v6.addr().to_ipv4_mapped()
            && let Some(bits) = v6.prefix_len().checked_sub(MAPPED_BITS)
            && let Ok(v4) = Ipv4Net::new(address, bits)
        {
            return Self(IpNet::V4(v4.trunc()));
        }
        Self(network.trunc())
    }

    /// Whether it holds more than one address.
    pub(crate) fn is_block(self) -> bool {
        self.0.prefix_len() < self.0.max_prefix_len()
    }

    /// Whether its prefix is shorter than the given one for IPv4 or IPv6.
    pub(crate) fn is_wider_than(self, (v4, v6): (u8, u8)) -> bool {
        self.0.prefix_len() < if self.0.addr().is_ipv4() { v4 } else { v6 }
    }

    pub(crate) fn holds(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// 0 for IPv4 or 1 for IPv6, then the first and the last address. For IPv6, these are the upper
    /// 64 bits.
    fn range(self) -> (usize, u64, u64) {
        let (family, first, length) = match self.0.addr() {
            IpAddr::V4(v4) => (0, u64::from(v4.to_bits()), 32),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments().map(u64::from);
                (1, a << 48 | b << 32 | c << 16 | d, 64)
            }
        };
        let hosts = length - u32::from(self.0.prefix_len()).min(length);
        let rest = u64::MAX.checked_shr(64 - hosts).unwrap_or(0);
        (family, first, first | rest)
    }

    /// Whether the two networks share addresses.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.0.contains(&other.0) || other.0.contains(&self.0)
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_block() {
            self.0.fmt(f)
        } else {
            self.0.addr().fmt(f)
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        Self::parse(text).ok_or_else(|| InvalidNetwork {
            text: text.to_owned(),
        })
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Networks for looking up addresses. The time depends only on the number of different prefix
/// lengths.
pub(crate) struct Networks {
    all: HashSet<Network>,
    bits: BTreeSet<u8>,
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let all: HashSet<_> = networks.into_iter().collect();
        let bits = all.iter().map(|network| network.0.prefix_len()).collect();
        Self { all, bits }
    }
}

impl Networks {
    /// The widest network that holds the address.
    pub(crate) fn around(&self, address: IpAddr) -> Option<Network> {
        let address = address.to_canonical();
        let mut networks = self.bits.iter().filter_map(|bits| {
            let network = IpNet::new(address, *bits).ok()?;
            Some(Network(network.trunc()))
        });
        networks.find(|network| self.all.contains(network))
    }
}

/// How much of IPv4 and of IPv6 the networks cover together. The result is the n of the share
/// 1/2^n, rounded down to such a share; `None` for nothing. IPv6 is counted in blocks of /64.
pub(crate) fn covered(networks: impl IntoIterator<Item = Network>) -> [Option<u32>; 2] {
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
