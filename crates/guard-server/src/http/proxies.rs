//! Trusted proxies, and the client behind them.
//!
//! Anybody can write a forwarding header. A trusted proxy appends the address that it saw, so the
//! headers are read from right to left: as long as an address belongs to a trusted proxy, the next
//! one was written by that proxy. The first address that belongs to none is the client's.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, header};

use super::client::Client;
use crate::network::{InvalidNetwork, Network};

pub(super) const X_FORWARDED_FOR: &str = "x-forwarded-for";
pub(super) const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The proxies whose forwarding headers are believed. By default there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// Reads addresses and CIDR blocks.
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`] names the first text that is neither.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, InvalidNetwork> {
        let networks = texts.iter().map(|text| text.as_ref().trim().parse());
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the address belongs to a trusted proxy.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// The client of a request that came from `peer`. `None` if two headers name different
    /// clients: a proxy may write one of them and pass on the other one as the client sent it.
    pub(super) fn client(&self, peer: Client, headers: &HeaderMap) -> Option<Client> {
        if !self.holds(peer.address) {
            return Some(peer);
        }
        let plain = headers.contains_key(X_FORWARDED_FOR);
        let standard = headers.contains_key(header::FORWARDED);
        let by_plain = || self.behind(peer, &plain_hops(headers), protocols(headers));
        let by_standard = || self.behind(peer, &standard_hops(headers), Vec::new());
        match (plain, standard) {
            (false, true) => Some(by_standard()),
            (_, false) => Some(by_plain()),
            (true, true) => {
                let client = by_plain();
                (client.address == by_standard().address).then_some(client)
            }
        }
    }

    /// Walks `hops`, the nearest first. `protocols` are in the order of the header.
    fn behind(&self, peer: Client, hops: &[Hop], protocols: Vec<Option<bool>>) -> Client {
        let (mut client, mut place) = (peer, protocols.len());
        for hop in hops {
            // A hop without a readable address hides the client: the last known address stands.
            let Some(address) = hop.address else { break };
            client.address = address;
            client.is_https = hop.is_https.unwrap_or(client.is_https);
            // A list of protocols belongs to the list of addresses, but many proxies write one.
            place = place.saturating_sub(1);
            if !self.holds(address) {
                break;
            }
        }
        if let Some(Some(is_https)) = protocols.get(place) {
            client.is_https = *is_https;
        }
        client
    }
}

/// A step of the way that a request took, as the receiving proxy wrote it.
struct Hop {
    address: Option<IpAddr>,
    is_https: Option<bool>,
}

/// All items of a header that is a list, in order.
fn items<'a>(headers: &'a HeaderMap, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    // A value that is no text cannot be split: it is one item that nothing can read.
    let texts: Vec<_> = values.map(|value| value.to_str().unwrap_or("?")).collect();
    texts.into_iter().flat_map(|text| text.split(','))
}

/// The hops of `X-Forwarded-For`, the nearest first.
fn plain_hops(headers: &HeaderMap) -> Vec<Hop> {
    let hops = items(headers, X_FORWARDED_FOR).rev().map(|item| Hop {
        address: address(item),
        is_https: None,
    });
    hops.collect()
}

fn protocols(headers: &HeaderMap) -> Vec<Option<bool>> {
    items(headers, X_FORWARDED_PROTO).map(is_https).collect()
}

fn is_https(protocol: &str) -> Option<bool> {
    match protocol.trim() {
        it if it.eq_ignore_ascii_case("https") => Some(true),
        it if it.eq_ignore_ascii_case("http") => Some(false),
        _ => None,
    }
}

/// The hops of `Forwarded` (RFC 7239), the nearest first.
fn standard_hops(headers: &HeaderMap) -> Vec<Hop> {
    let mut hops = Vec::new();
    for value in headers.get_all(header::FORWARDED) {
        let elements = value.to_str().ok().and_then(|text| split(text, ','));
        match elements {
            Some(elements) => hops.extend(elements.into_iter().map(hop)),
            // An open quote could hide the elements after it.
            None => hops.push(hop("")),
        }
    }
    hops.reverse();
    hops
}

fn hop(element: &str) -> Hop {
    let mut hop = Hop {
        address: None,
        is_https: None,
    };
    for pair in split(element, ';').unwrap_or_default() {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = unquoted(value);
        match name.trim() {
            it if it.eq_ignore_ascii_case("for") => hop.address = address(&value),
            it if it.eq_ignore_ascii_case("proto") => hop.is_https = is_https(&value),
            _ => {}
        }
    }
    hop
}

/// Splits at `separator` outside of quoted strings. `None` if a quote stays open.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (index, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if character == separator && !is_quoted => {
                parts.push(&text[start..index]);
                start = index + character.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

fn unquoted(value: &str) -> Cow<'_, str> {
    let value = value.trim();
    match value.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
        Some(inner) if inner.contains('\\') => Cow::Owned(inner.replace('\\', "")),
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(value),
    }
}

/// Every address that a forwarding header names, believed or not.
pub(crate) fn named_addresses(headers: &HeaderMap) -> impl Iterator<Item = IpAddr> {
    let plain = [X_FORWARDED_FOR, "x-real-ip"];
    let plain = plain.into_iter().flat_map(|name| items(headers, name));
    let standard = standard_hops(headers).into_iter();
    plain
        .filter_map(address)
        .chain(standard.filter_map(|hop| hop.address))
}

/// Parses an address, perhaps with a port. IPv6 may be in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = inner.unwrap_or(text).parse::<IpAddr>();
    let address = address.or_else(|_| text.parse().map(|it: SocketAddr| it.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
