//! Anonymizing addresses.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::crypto::hash::hash_ip;

/// How to anonymize `ip_address` before it leaves the process. Text that is not an address, such
/// as `system`, stays unchanged.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Anonymize {
    /// It stays unchanged.
    #[default]
    None,
    /// The last 8 bits of an IPv4 address and the last 80 bits of an IPv6 address become zero.
    Truncate,
    /// [`hash_ip`] with this salt replaces the address. Somebody who knows the salt can find the
    /// address by trying all of them.
    Hash {
        /// Keep it secret.
        salt: String,
    },
}

impl Anonymize {
    /// `ip`, anonymized.
    ///
    /// ```
    /// use guard_wire::anonymize::Anonymize;
    ///
    /// assert_eq!(Anonymize::Truncate.apply("192.0.2.77"), "192.0.2.0");
    /// assert_eq!(Anonymize::Truncate.apply("2001:db8:1:2::3"), "2001:db8:1::");
    /// assert_eq!(Anonymize::Truncate.apply("system"), "system");
    /// ```
    pub fn apply<'a>(&self, ip: &'a str) -> Cow<'a, str> {
        if *self == Anonymize::None {
            return Cow::Borrowed(ip);
        }
        let Ok(address) = ip.trim().parse::<IpAddr>() else {
            return Cow::Borrowed(ip);
        };
        Cow::Owned(match self {
            Anonymize::None => ip.to_owned(),
            Anonymize::Truncate => truncate(address.to_canonical()).to_string(),
            Anonymize::Hash { salt } => hash_ip(&address.to_canonical().to_string(), salt),
        })
    }
}

impl fmt::Debug for Anonymize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Anonymize::None => "None",
            Anonymize::Truncate => "Truncate",
            Anonymize::Hash { .. } => "Hash",
        })
    }
}

fn truncate(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !0xff).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !((1 << 80) - 1)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_one_hash_however_it_is_written() {
        let hash = Anonymize::Hash {
            salt: "pepper".into(),
        };
        assert_eq!(hash.apply("127.0.0.1"), "1ecb89f20e9a037d");
        assert_eq!(hash.apply(" ::ffff:127.0.0.1 "), "1ecb89f20e9a037d");
        assert_eq!(hash.apply(""), "");
    }
}
